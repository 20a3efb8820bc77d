"""One optimizer step: guards, masters, activation checkpointing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.objectives import SUPERVISED

from luthier.config import MethodsConfig, TrainConfig
from luthier.core.console import Console
from luthier.core.errors import DivergedError
from luthier.core.files import read_lines
from luthier.distributed.parallelism import Replicated, Share
from luthier.distributed.process_group import ProcessGroup
from luthier.methods import method_for
from luthier.records.run_directory import RunDirectory
from luthier.training.job import TrainingJob
from luthier.training.loop import train
from luthier.training.optimizer import make_optimizer, optimizer_tensors
from luthier.training.step import optimizer_step
from luthier.training.weights import TrainedWeights


@pytest.fixture
def make_job(load: Any, make_examples: Any, tiny_llama: Path, tmp_path: Path) -> Any:
    """A job on the tiny Llama: ``make_job("full", dtype="bfloat16", epochs=2)``."""

    def make(method: Any, *, dtype: str = "float32", rate: float = 1e-3, **loop: Any) -> Any:
        base = load(tiny_llama, dtype)
        torch.manual_seed(0)
        model = method_for(method, MethodsConfig()).prepare(base)
        return TrainingJob(
            loaded=dataclasses.replace(base, model=model),
            method_name=method,
            method=MethodsConfig().of(method).model_copy(update={"learning_rate": rate}),
            train=TrainConfig(batch_size=2, **loop),
            objective=SUPERVISED,
            examples=make_examples(base, 6),
            validation=(),
            seed=0,
            run=RunDirectory.create(tmp_path, "run"),
            fingerprint="",
        )

    return make


def copies(weights: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in weights.items()}


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_weight_that_is_not_finite_stops_the_training(method: str, make_job: Any) -> None:
    job = make_job(method)
    with torch.no_grad():
        job.loaded.model.get_input_embeddings().weight[:] = float("nan")
    before = copies(TrainedWeights(job.loaded.model).parameters)
    with pytest.raises(DivergedError, match="not finite in step 1 ") as caught:
        train(job, Console(quiet=True))
    after = TrainedWeights(job.loaded.model).parameters
    for name, value in before.items():
        torch.testing.assert_close(after[name].detach(), value, equal_nan=True, rtol=0, atol=0)
    (event,) = [e for e in read_lines(job.run.events) if e["event"] == "diverged"]
    assert len(event["examples"]) == 2
    assert set(event["examples"]) < {example.id for example in job.examples}
    assert all(name in caught.value.where for name in event["examples"])
    assert not list(read_lines(job.run.metrics))


def test_bfloat16_weights_have_float32_masters(make_job: Any) -> None:
    job = make_job("full", dtype="bfloat16")
    weights = TrainedWeights(job.loaded.model)
    assert all(p.dtype == torch.bfloat16 for p in weights.parameters.values())
    assert all(m.dtype == torch.float32 for m in weights.masters.values())
    assert weights.count == job.loaded.model.num_parameters()


def test_a_master_sums_the_gradients_of_all_micro_batches() -> None:
    layer = torch.nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    weights = TrainedWeights(layer)
    for value in (256.0, 1.0):  # 257 does not exist in bfloat16
        layer(torch.tensor([[value]], dtype=torch.bfloat16)).sum().backward()
    assert layer.weight.grad is None
    assert weights.masters["weight"].grad is not None
    assert float(weights.masters["weight"].grad) == 257.0


def test_updates_too_small_for_bfloat16_are_not_lost(make_job: Any) -> None:
    """Ten steps of 1e-5 on a weight of one vanish in bfloat16, but not in the master."""
    job = make_job("full", dtype="bfloat16", rate=1e-5, epochs=4, schedule="constant")
    weights = TrainedWeights(job.loaded.model)
    norms = {n: m.detach().clone() for n, m in weights.masters.items() if n.endswith("norm.weight")}
    assert all(bool((m == 1).all()) for m in norms.values())
    optimizer = torch.optim.AdamW(weights.masters.values(), lr=1e-5, weight_decay=0.0)
    for step in range(4):
        optimizer_step(job, weights, optimizer, job.examples[:2], step)
    for name in norms:
        assert bool((weights.parameters[name] == 1).all())
        moved = (weights.masters[name].detach() - 1).abs()
        assert 1e-5 < float(moved.max()) < 1e-4


@pytest.mark.parametrize("master_weights", [True, False])
def test_bfloat16_weights_learn(master_weights: bool, make_job: Any) -> None:
    job = make_job("full", dtype="bfloat16", rate=0.02, epochs=4, master_weights=master_weights)
    record = train(job, Console(quiet=True))
    assert record.last_loss < 0.9 * record.first_loss


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("adamw-8bit", 0.02), ("adafactor", 0.5), ("sgd", 10.0)]
)
def test_every_optimizer_learns(optimizer: str, rate: float, make_job: Any) -> None:
    job = make_job("full", rate=rate, epochs=4, optimizer=optimizer)
    record = train(job, Console(quiet=True))
    assert record.last_loss < 0.9 * record.first_loss


def test_without_masters_all_is_bfloat16(make_job: Any) -> None:
    job = make_job("full", dtype="bfloat16", rate=1e-4, master_weights=False)
    weights = TrainedWeights(job.loaded.model, job.train.master_weights)
    optimizer = make_optimizer(weights, job)
    optimizer_step(job, weights, optimizer, job.examples[:2], 0)
    assert weights.masters == weights.parameters
    tensors = optimizer_tensors(optimizer, weights)
    moments = [value for key, value in tensors.items() if not key.endswith("/step")]
    assert {value.dtype for value in moments} == {torch.bfloat16}
    assert sum(value.nbytes for value in moments) == 2 * 2 * weights.count


class Apart(Replicated):
    """A process that takes every pass itself, whatever its rank."""

    def shares(self, cuts: Sequence[list[int]], lengths: Sequence[int]) -> list[Share]:
        return [Share(cut) for cut in cuts]


def test_copies_that_are_rounded_at_random_stay_equal(make_job: Any) -> None:
    """Ranks have dropout of their own, and must round alike."""
    trained = []
    for rank in range(2):
        job = make_job("full", dtype="bfloat16", master_weights=False)
        job = dataclasses.replace(job, parallelism=Apart(ProcessGroup(rank)))
        weights = TrainedWeights(job.loaded.model, job.train.master_weights)
        optimizer = make_optimizer(weights, job)
        for step in range(2):
            optimizer_step(job, weights, optimizer, job.examples[:2], step)
        trained.append(copies(weights.parameters))
    for name, value in trained[0].items():
        assert torch.equal(trained[1][name], value), name


@pytest.mark.parametrize("method", ["full", "lora"])
def test_masters_are_of_no_account_where_weights_are_float32(method: str, make_job: Any) -> None:
    losses = []
    for index, kept in enumerate((True, False)):
        dtype = "float32" if method == "full" else "bfloat16"
        job = make_job(method, dtype=dtype, master_weights=kept, epochs=2)
        run = RunDirectory.create(job.run.path, f"run-{index}")
        train(dataclasses.replace(job, run=run), Console(quiet=True))
        losses.append([line["loss"] for line in read_lines(run.metrics)])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("method", ["full", "lora", "last-layers"])
def test_activation_checkpointing_changes_nothing(method: str, make_job: Any) -> None:
    results = []
    for again in ("none", "selective", "full"):
        job = make_job(method, activation_checkpointing=again, epochs=2)
        run = RunDirectory.create(job.run.path, f"run-{again}")
        train(dataclasses.replace(job, run=run), Console(quiet=True))
        results.append([line["loss"] for line in read_lines(run.metrics)])
    assert len(results[0]) == 6
    assert results[0] == pytest.approx(results[1], rel=1e-6)
    assert results[0] == pytest.approx(results[2], rel=1e-6)
