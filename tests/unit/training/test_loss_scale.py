"""Float16: a loss scale that keeps gradients in its range, and steps that overflow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.observers import StopAt
from tests.resuming import assert_resumes_exactly, trained
from tests.unit.conftest import LEARNING_RATES

from luthier.checkpoint import latest_checkpoint
from luthier.config import RunConfig
from luthier.core.console import Console
from luthier.core.errors import DivergedError, PreemptedError, UsageError
from luthier.core.files import read_lines
from luthier.models.device import resolve_dtype
from luthier.planning.training_setup import PRECISIONS, precision_in_memory
from luthier.training import loss_scale
from luthier.training.job import allowed_method
from luthier.training.loss_scale import DynamicLossScaling, LossScaling
from luthier.training.weights import TrainedWeights

HUGE = 2.0**32


class Watch:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def on_step(self, metrics: Any) -> None:
        self.events.append({"event": "step", "step": metrics.step})

    def on_event(self, event: str, **values: Any) -> None:
        self.events.append({"event": event, **values})


def test_the_scale_is_halved_by_an_overflow_and_doubled_after_many_good_steps() -> None:
    scaling = DynamicLossScaling()
    assert scaling.scale == 65536
    assert scaling.split(64.0) == (1024.0, 1.0)
    assert not scaling.admit(0, 1.0, math.inf)
    assert not scaling.admit(1, 1.0, math.nan)
    assert scaling.scale == 16384
    for step in range(2, 2001):
        assert scaling.admit(step, 1.0, 1.0)
    assert scaling.scale == 16384
    assert scaling.admit(2001, 1.0, 1.0)
    assert (scaling.scale, scaling.state.good_steps, scaling.state.overflows) == (32768, 0, 2)


def test_an_overflow_begins_the_count_of_good_steps_anew() -> None:
    scaling = DynamicLossScaling()
    for step in range(1999):
        assert scaling.admit(step, 1.0, 1.0)
    assert not scaling.admit(1999, 1.0, math.inf)
    assert scaling.admit(2000, 1.0, 1.0)
    assert scaling.scale == 32768


def test_a_scale_that_cannot_be_lowered_is_an_error() -> None:
    scaling = DynamicLossScaling()
    for step in range(16):
        assert not scaling.admit(step, 1.0, math.inf)
    assert scaling.scale == 1
    with pytest.raises(DivergedError, match="step 17 exceeds the range of float16") as caught:
        scaling.admit(16, 1.0, math.inf)
    assert "float32" in caught.value.fix


def test_a_loss_that_is_not_finite_is_left_to_the_guards() -> None:
    scaling = DynamicLossScaling()
    assert scaling.admit(0, math.nan, math.nan)
    assert scaling.scale == 65536


def test_unscaled_gradients_are_those_of_the_loss() -> None:
    """Of an exact power of two nothing is lost, even where float16 would have lost all."""
    layer = torch.nn.Linear(4, 1, bias=False, dtype=torch.float16)
    weights, scaling = TrainedWeights(layer), DynamicLossScaling()
    masters = list(weights.masters.values())
    inputs = torch.full((1, 4), 2.0**-20, dtype=torch.float16)
    factor, divisor = scaling.split(8.0)
    (layer(inputs).float() * factor / divisor).sum().backward()
    scaling.unscale(masters)
    assert masters[0].grad is not None
    assert masters[0].grad.tolist() == [[2.0**-23] * 4]


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("model", "method"),
    [
        ("tiny_llama", "full"),
        ("tiny_llama", "lora"),
        ("tiny_llama", "adalora"),
        ("tiny_llama", "prompt-tuning"),
        ("tiny_llama", "last-layers"),
        ("tiny_llama", "layernorm"),
        ("tiny_gpt2", "bitfit"),
        ("tiny_t5", "lora"),
        ("tiny_t5", "full"),
    ],
)
def test_float16_trains_as_float32_does(
    model: str, method: str, small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearer than bfloat16, whose numbers are eight times as far apart."""
    # Steps of two examples have large gradients, and no step is to be left out here. At the rates
    # of the other tests any rounding leads elsewhere within twenty steps.
    monkeypatch.setattr(loss_scale, "_FIRST", 2.0**12)
    rate = LEARNING_RATES[method] / 20
    losses = {}
    for dtype in ("float32", "float16", "bfloat16"):
        loaded, record, run = small_tune(
            model, method, run=dtype, dtype=dtype, settings={"learning_rate": rate}
        )
        losses[dtype] = torch.tensor([line["loss"] for line in read_lines(run.metrics)])
        assert record.overflows == 0
        assert loaded.model.get_output_embeddings().weight.dtype == getattr(torch, dtype)
    assert len(losses["float16"]) == 10
    parted = {n: float((found - losses["float32"]).abs().max()) for n, found in losses.items()}
    assert 0 < parted["float16"] < 0.01
    assert parted["float16"] < parted["bfloat16"]


def test_masters_are_float32(small_tune: Any) -> None:
    """Their copies in the checkpoint are what the training goes on with."""
    _, _, run = small_tune(method="full", dtype="float16")
    checkpoint = latest_checkpoint(run.checkpoints, Console(quiet=True))
    assert checkpoint is not None
    tensors = checkpoint.tensors()
    assert {tensors[key].dtype for key in tensors} == {torch.float32}
    assert checkpoint.state["loss_scale"] == {"scale": 65536.0, "good_steps": 10, "overflows": 0}


def test_small_slopes_keep_their_precision() -> None:
    """From 1e-9 on they are within float16's range when they are scaled, and vanish when not."""
    slopes = torch.logspace(-9, -3, 61)
    kept = []
    for scaling in (LossScaling(), DynamicLossScaling()):
        factor, _ = scaling.split(1.0)
        short = (slopes * factor).half().float() / factor
        kept.append(float(((short - slopes).abs() < 1e-2 * slopes).float().mean()))
    assert kept[0] < 0.6
    assert kept[1] > 0.95


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_step_that_overflows_is_left_out_and_counted(
    method: str, small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_scale, "_FIRST", HUGE)
    watch = Watch()
    loaded, record, run = small_tune(
        "tiny_llama", method, dtype="float16", train={"epochs": 6}, observers=[watch]
    )
    left = [event for event in read_lines(run.events) if event["event"] == "overflow"]
    assert 0 < len(left) < 25
    scales = [HUGE / 2**n for n in range(1, len(left) + 1)]
    assert [event["loss_scale"] for event in left] == scales
    taken = [line["step"] for line in read_lines(run.metrics)]
    assert sorted(taken + [event["step"] for event in left]) == list(range(1, 31))
    assert record.overflows == len(left)
    assert record.steps == 30
    assert not [event for event in watch.events if event["event"] == "guard"]
    checkpoint = latest_checkpoint(run.checkpoints, Console(quiet=True))
    assert checkpoint is not None
    assert checkpoint.state["guards"]["skipped"] == 0
    assert record.last_loss < record.first_loss
    assert all(torch.isfinite(value).all() for value in trained(loaded).values())


def test_an_overflow_changes_no_weight(
    small_tune: Any,
    load: Any,
    tiny_llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loss_scale, "_FIRST", HUGE)
    saving = {"max_steps": 3, "num_validations": 0, "checkpoint_every_steps": 1}
    with pytest.raises(DivergedError, match="every step was skipped"):
        small_tune("tiny_llama", "full", dtype="float16", train=saving)
    checkpoint = latest_checkpoint(tmp_path / "run" / "checkpoints", Console(quiet=True))
    assert checkpoint is not None
    before = dict(load(tiny_llama, "float16").model.named_parameters())
    for name, value in before.items():
        assert torch.equal(checkpoint.tensors()[f"weights/{name}"], value.detach().float()), name


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("model", "method"), [("tiny_llama", "full"), ("tiny_llama", "lora"), ("tiny_t5", "lora")]
)
def test_a_resumed_training_equals_an_uninterrupted_one(
    model: str, method: str, small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scale grows after four good steps here, so that it changes between the interruptions."""
    monkeypatch.setattr(loss_scale, "_DOUBLE_AFTER", 4)
    monkeypatch.setattr(loss_scale, "_FIRST", 2.0**15)
    assert_resumes_exactly(small_tune, model, method, dtype="float16")


def test_overflows_before_an_interruption_are_remembered(
    small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_scale, "_FIRST", HUGE)
    chosen: dict[str, Any] = {"method": "full", "dtype": "float16", "train": {"max_steps": 30}}
    _, straight, run = small_tune(run="straight", **chosen)
    steps = [line["step"] for line in read_lines(run.metrics)]
    with pytest.raises(PreemptedError):
        small_tune(run="broken", observers=[StopAt(steps[1])], **chosen)
    _, resumed, broken = small_tune(run="broken", **chosen)
    assert resumed.overflows == straight.overflows > 0
    assert [line["step"] for line in read_lines(broken.metrics)] == steps
    assert resumed.last_loss == straight.last_loss


def test_a_quantised_base_computes_in_float16(small_tune: Any) -> None:
    pytest.importorskip("bitsandbytes")
    loaded, record, _ = small_tune("tiny_llama", "qlora", dtype="float16", train={"epochs": 6})
    computed = {
        module.compute_dtype
        for module in loaded.model.modules()
        if hasattr(module, "compute_dtype")
    }
    assert computed == {torch.float16}
    assert record.last_loss < record.first_loss


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        ((6, 1), torch.float32),  # P40: float16 at 1/64 of the speed
        ((7, 0), torch.float16),  # V100
        ((7, 5), torch.float16),  # T4
        ((8, 0), torch.bfloat16),  # A100
        ((9, 0), torch.bfloat16),  # H100
    ],
)
def test_auto_is_what_the_devices_matrix_units_multiply(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert resolve_dtype("auto", torch.device("cuda")) is dtype
    assert resolve_dtype("float16", torch.device("cpu")) is torch.float16
    assert resolve_dtype("auto", torch.device("cpu")) is not torch.float16


def test_float16_without_masters_is_refused(load: Any, tiny_llama: Path) -> None:
    values = {"model": {"dtype": "float16"}, "train": {"master_weights": False}}
    with pytest.raises(UsageError, match="float32 master copies") as caught:
        allowed_method("full", RunConfig.model_validate(values), load(tiny_llama))
    assert caught.value.where == "train.master_weights"


def test_the_plan_of_float16_is_that_of_its_name() -> None:
    assert precision_in_memory(None, dtype="float16") == PRECISIONS["fp16-mixed"]
    assert precision_in_memory("nf4", dtype="float16").dtype == "float16"


def test_a_dry_run_knows_float16(
    tiny_llama: Path, quick_settings: dict[str, Any], tmp_path: Path
) -> None:
    import luthier

    settings = {"model.id": str(tiny_llama), "output": str(tmp_path), "method": "full"}
    plans = [
        luthier.dry_run(
            None,
            {**quick_settings, **settings, "model.dtype": dtype},
            Console(quiet=True),
            kind="tune",
        ).methods[0]
        for dtype in ("float16", "bfloat16")
    ]
    assert plans[0].memory_bytes == plans[1].memory_bytes
    assert plans[0].seconds is None
