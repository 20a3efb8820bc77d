"""Optimizers by name: where they work, and their states."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.objectives import SUPERVISED

from luthier.config import MethodConfig, TrainConfig
from luthier.core.errors import DataError, UsageError
from luthier.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from luthier.models.load import LoadedModel
from luthier.records.evaluation import ModelStamp
from luthier.records.run_directory import RunDirectory
from luthier.training.job import TrainingJob
from luthier.training.optimizer import (
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    require_optimizer,
)
from luthier.training.weights import TrainedWeights

CPU = torch.device("cpu")
STATES = {
    "adamw": {"step": torch.float32, "exp_avg": torch.float32, "exp_avg_sq": torch.float32},
    "adamw-8bit": {
        "step": torch.int64,
        "state1": torch.uint8,
        "state2": torch.uint8,
        "absmax1": torch.float32,
        "absmax2": torch.float32,
    },
    "adafactor": {"step": torch.float32, "row_var": torch.float32, "col_var": torch.float32},
    "sgd": {},
}


class Training:
    """A layer whose matrix is large enough for 8 bits, and whose bias is not."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32, **loop: Any) -> None:
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(64, 128, dtype=dtype)
        stamp = ModelStamp(id="layer", parameters=0, dtype="", architecture="")
        job = TrainingJob(
            loaded=LoadedModel(self.layer, None, stamp, CPU),
            method_name="full",
            method=MethodConfig(learning_rate=0.01, weight_decay=0.1),
            train=TrainConfig.model_validate(loop),
            objective=SUPERVISED,
            examples=(),
            validation=(),
            seed=0,
            run=RunDirectory(folder),
            fingerprint="",
        )
        self.weights = TrainedWeights(self.layer, job.train.master_weights)
        self.optimizer = make_optimizer(self.weights, job)

    def step(self, seed: int) -> None:
        torch.manual_seed(seed)
        for master in self.weights.masters.values():
            master.grad = torch.randn_like(master)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.weights.sync_to_model()

    def tensors(self) -> dict[str, torch.Tensor]:
        return optimizer_tensors(self.optimizer, self.weights)


@pytest.mark.parametrize(
    ("loop", "dtype"),
    [
        *(({"optimizer": name}, torch.float32) for name in STATES),
        ({"optimizer": "adamw-8bit"}, torch.bfloat16),
        ({"master_weights": False}, torch.bfloat16),
    ],
)
def test_a_state_comes_back_from_a_file_bit_for_bit(
    loop: dict[str, Any], dtype: torch.dtype, tmp_path: Path
) -> None:
    one, other = (Training(tmp_path, dtype, **loop) for _ in range(2))
    for seed in range(3):
        one.step(seed)
    path = tmp_path / "state.safetensors"
    save_file(one.tensors(), path)
    load_optimizer_tensors(
        other.optimizer, other.weights, load_file(path), lambda whole, like: whole.to(like.device)
    )
    other.weights.load(one.weights.masters, lambda whole, like: whole)
    for seed in range(3, 6):
        one.step(seed)
        other.step(seed)
    assert one.tensors().keys() == other.tensors().keys()
    for key, value in one.tensors().items():
        assert torch.equal(other.tensors()[key], value), key
    for name, value in one.layer.state_dict().items():
        assert torch.equal(other.layer.state_dict()[name], value), name


@pytest.mark.parametrize("name", STATES)
def test_states_are_as_small_as_they_are_said_to_be(name: str, tmp_path: Path) -> None:
    training = Training(tmp_path, optimizer=name)
    training.step(0)
    of_matrix = {
        key.removeprefix("weight/"): value.dtype
        for key, value in training.tensors().items()
        if key.startswith("weight/")
    }
    assert of_matrix == STATES[name]
    of_bias = [value for key, value in training.tensors().items() if key.startswith("bias/")]
    assert all(value.dtype != torch.uint8 for value in of_bias)


def _dropped(value: torch.Tensor) -> None:
    return None


SPOILT = {
    "missing": _dropped,
    "of another shape": lambda value: torch.zeros(*value.shape, 3, dtype=value.dtype),
    "flat": lambda value: value.reshape(-1)[:1].expand(7).clone(),
    "a single number": lambda value: torch.zeros((2,), dtype=value.dtype),
    "of another type": lambda value: value.to(
        torch.float64 if value.dtype != torch.float64 else torch.int8
    ),
    "whole numbers": lambda value: value.to(
        torch.int32 if value.dtype != torch.int32 else torch.int16
    ),
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("name", [*(name for name in STATES if STATES[name]), "pure"])
def test_a_state_that_is_not_the_optimizers_is_refused_before_it_is_used(
    name: str, how: str, tmp_path: Path
) -> None:
    """Each tensor of the state in its turn; the optimizer stays as it was."""
    pure = name == "pure"
    loop = {"master_weights": False} if pure else {"optimizer": name}
    dtype = torch.bfloat16 if pure else torch.float32
    one, other = (Training(tmp_path, dtype, **loop) for _ in range(2))
    one.step(0)
    before = {key: value.clone() for key, value in other.tensors().items()}
    for key, value in one.tensors().items():
        spoilt = SPOILT[how](value)
        tensors = {k: v for k, v in one.tensors().items() if k != key}
        tensors |= {} if spoilt is None else {key: spoilt}
        with pytest.raises(DataError, match=key):
            load_optimizer_tensors(other.optimizer, other.weights, tensors, lambda whole, _: whole)
    after = other.tensors()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_count_of_steps_that_cannot_be_is_refused(value: float, tmp_path: Path) -> None:
    one, other = (Training(tmp_path) for _ in range(2))
    one.step(0)
    tensors = one.tensors() | {"weight/step": torch.tensor(value)}
    with pytest.raises(DataError, match="weight/step"):
        load_optimizer_tensors(other.optimizer, other.weights, tensors, lambda whole, _: whole)


def test_eight_bits_are_nearly_as_good_as_32(tmp_path: Path) -> None:
    """The same gradients, whose moments differ by what a block's 256 levels cannot tell apart."""
    exact, short = (Training(tmp_path, optimizer=name) for name in ("adamw", "adamw-8bit"))
    weight = exact.layer.weight.detach()
    start = weight.clone()
    for seed in range(10):
        exact.step(seed)
        short.step(seed)
    apart = (weight - short.layer.weight.detach()).norm()
    assert 0 < float(apart) < 0.1 * float((weight - start).norm())


def refusal(
    device: str = "cpu", processes: ProcessGroup = SINGLE_PROCESS, **loop: Any
) -> UsageError:
    with pytest.raises(UsageError) as caught:
        require_optimizer(TrainConfig.model_validate(loop), torch.device(device), processes)
    assert caught.value.fix
    return caught.value


def test_what_does_not_work_is_refused_with_the_reason() -> None:
    error = refusal(optimizer="paged-adamw-8bit")
    assert (error.where, error.fix) == ("train.optimizer", "choose adamw-8bit")
    for name in ("adamw-8bit", "adafactor"):
        two = ProcessGroup(0, 2)
        assert "sharded" in str(refusal(processes=two, optimizer=name, parallelism="fsdp"))
        for works in ({"optimizer": name}, {"parallelism": "fsdp"}):
            require_optimizer(TrainConfig.model_validate(works), CPU, two)
    error = refusal(optimizer="sgd", master_weights=False)
    assert error.where == "train.master_weights"
    cuda = TrainConfig(optimizer="paged-adamw-8bit")
    require_optimizer(cuda, torch.device("cuda"), SINGLE_PROCESS)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # as if it were not there
    assert "luthier[quantised]" in refusal(optimizer="adamw-8bit").fix
