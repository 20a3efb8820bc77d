"""The training loop, run for real on tiny models."""

from __future__ import annotations

import io
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tests.objectives import SUPERVISED
from tests.observers import StopAt
from tests.resuming import assert_resumes_exactly, trained

from luthier.core.console import Console, ProgressCallback
from luthier.core.errors import PreemptedError, UsageError
from luthier.core.files import read_lines
from luthier.core.method_facts import METHOD_NAMES
from luthier.records.training import TrainingRecord
from luthier.training.observers import StepMetrics

# Nats per token. Beside frozen random embeddings little can be learned, but something can.
LEAST_FALL = {
    "full": 1.0,
    "bitfit": 0.01,
    "layernorm": 0.01,
    "last-layers": 0.05,
    "selective": 0.05,
    "lora": 0.05,
    "rslora": 0.05,
    "dora": 0.05,
    "adalora": 0.02,
    "qlora": 0.05,
    "vera": 0.005,
    "ia3": 0.005,
    "adapters": 0.05,
    "prompt-tuning": 0.005,
    "prefix-tuning": 0.005,
    "p-tuning": 0.005,
}
# Every method, on a decoder and on an encoder-decoder; biases are found in GPT-2 alone.
MODELS = {"bitfit": ("tiny_gpt2",)}
CASES = [
    (model, method)
    for method in METHOD_NAMES
    for model in MODELS.get(method, ("tiny_llama", "tiny_t5"))
]
SEEN_ABOVE = {"full", "lora", "prompt-tuning"}


@pytest.mark.sample(4)
@pytest.mark.parametrize(("model", "method"), CASES)
def test_the_loss_falls(
    model: str,
    method: str,
    small_tune: Any,
    load: Any,
    make_examples: Any,
    request: pytest.FixtureRequest,
) -> None:
    loaded, record, run = small_tune(model, method, train={"epochs": 6, "num_validations": 0})
    base = load(request.getfixturevalue(model))
    examples = make_examples(base, 10)
    before, after = (
        SUPERVISED.mean_loss(m.model, examples, m.device, batch_tokens=256) for m in (base, loaded)
    )
    assert before - after > LEAST_FALL[method]

    lines = list(read_lines(run.metrics))
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert lines[0]["loss"] == record.first_loss
    assert lines[-1]["loss"] == record.last_loss
    assert record == TrainingRecord.read(run.training)
    assert record.stopped == "finished"
    assert record.steps == record.planned_steps == 30
    assert record.epochs == 6
    assert record.processed_tokens == sum(line["tokens"] for line in lines)
    assert 0 < record.trained_tokens < record.processed_tokens
    assert record.trained_parameters == sum(v.numel() for v in trained(loaded).values())
    assert record.total_parameters >= record.trained_parameters
    assert record.peak_memory_bytes > 0
    assert not loaded.model.training


def test_metrics_and_events_are_as_documented(small_tune: Any) -> None:
    _, record, run = small_tune(train={"num_validations": 2, "checkpoint_every": 0})
    for line in read_lines(run.metrics):
        metrics = StepMetrics.model_validate(line)
        assert metrics.seconds > 0
        assert metrics.tokens_per_second == pytest.approx(metrics.tokens / metrics.seconds)
        assert metrics.gradient_norm > 0
    rates = [line["learning_rate"] for line in read_lines(run.metrics)]
    assert max(rates) == rates[0] == 0.05
    assert 0 < rates[-1] < 0.003
    events = list(read_lines(run.events))
    assert events[0] == {"event": "start", "step": 0}
    validations = [event for event in events if event["event"] == "validation"]
    assert [event["step"] for event in validations] == [5, 10]
    assert min(event["loss"] for event in validations) == record.best_validation_loss
    saves = [event["step"] for event in events if event["event"] == "checkpoint"]
    assert saves == list(range(1, 11))


def test_only_what_the_method_trains_is_changed(small_tune: Any, load: Any, tiny_t5: Any) -> None:
    loaded, _, _ = small_tune("tiny_t5", "prompt-tuning")
    before = dict(load(tiny_t5).model.named_parameters())
    after = dict(loaded.model.get_base_model().named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_time_box_stops_cleanly(small_tune: Any) -> None:
    _loaded, record, run = small_tune(train={"max_time": "0.001s", "epochs": 50})
    assert record.stopped == "time"
    assert record.steps == 1
    assert record.planned_steps == 250
    assert TrainingRecord.read(run.training) == record
    assert (run.model / "adapter_model.safetensors").is_file()
    assert [path.name for path in run.checkpoints.glob("step-*")] == ["step-000001"]
    assert record.seconds >= 0.001


def test_the_training_stops_early_and_keeps_the_best_weights(
    small_tune: Any, make_examples: Any
) -> None:
    # A learning rate that soon ruins the model, so that validation gets worse.
    loaded, record, run = small_tune(
        method="full",
        train={"epochs": 8, "num_validations": 40, "patience": 3, "schedule": "constant"},
        settings={"learning_rate": 0.3},
    )
    losses = {
        event["step"]: event["loss"]
        for event in read_lines(run.events)
        if event["event"] == "validation"
    }
    assert record.stopped == "early"
    assert record.steps == record.best_step + 3
    assert record.steps < record.planned_steps
    assert record.best_validation_loss == losses[record.best_step] == min(losses.values())
    assert losses[record.steps] > losses[record.best_step]
    validation = make_examples(loaded, 13)[10:]
    restored = SUPERVISED.mean_loss(loaded.model, validation, loaded.device, batch_tokens=128)
    assert restored == record.best_validation_loss


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("model", "method", "dtype", "settings"),
    [
        ("tiny_llama", "full", "float32", {"weight_decay": 0.1}),
        ("tiny_llama", "full", "bfloat16", {}),
        ("tiny_llama", "lora", "float32", {"dropout": 0.2}),
        ("tiny_llama", "prompt-tuning", "float32", {}),
        ("tiny_llama", "last-layers", "float32", {"layers": 1}),  # the other one is cached
        ("tiny_t5", "lora", "bfloat16", {"dropout": 0.2}),
        *((model, method, "float32", {}) for model, method in CASES if method not in SEEN_ABOVE),
    ],
)
def test_a_resumed_training_equals_an_uninterrupted_one(
    model: str, method: str, dtype: str, settings: dict[str, Any], small_tune: Any
) -> None:
    assert_resumes_exactly(small_tune, model, method, dtype=dtype, settings=settings)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("loop", "dtype"),
    [
        ({"optimizer": "adamw-8bit"}, "float32"),
        ({"optimizer": "adamw-8bit"}, "bfloat16"),
        ({"optimizer": "adafactor"}, "float32"),
        ({"optimizer": "sgd"}, "float32"),
        ({"master_weights": False}, "bfloat16"),
        ({"activation_checkpointing": "selective"}, "float32"),
        ({"packing": True}, "float32"),
    ],
)
def test_so_it_does_with_every_optimizer(loop: dict[str, Any], dtype: str, small_tune: Any) -> None:
    """A tiny Llama has a table that 8 bits hold, and norms that stay float32."""
    decay = {"weight_decay": 0.1}
    assert_resumes_exactly(small_tune, "tiny_llama", "full", loop, dtype=dtype, settings=decay)


class StopWhenDone(Console):
    """Asks this process to stop when the progress of the steps is no longer shown."""

    @contextmanager
    def progress(
        self, description: str, total: float | None, done: int = 0
    ) -> Iterator[ProgressCallback]:
        with super().progress(description, total, done) as advance:
            yield advance
        if description.startswith("Training"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_no_signal_is_lost_after_the_last_step(small_tune: Any) -> None:
    with pytest.raises(PreemptedError, match="SIGTERM after step 10 of 10"):
        small_tune(console=StopWhenDone(quiet=True))
    _, record, _ = small_tune()
    assert record.stopped == "finished"


def test_progress_goes_on_where_it_stopped(
    small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PreemptedError):
        small_tune(observers=[StopAt(7)])
    monkeypatch.setattr("luthier.core.console._PLAIN_INTERVAL_SECONDS", 0.0)
    out = io.StringIO()
    small_tune(console=Console(out))
    shown = [line for line in out.getvalue().splitlines() if "Training lora" in line]
    assert [line.split()[2].removesuffix(":") for line in shown] == ["8/10", "9/10", "10/10"]


def test_what_a_killed_attempt_logged_after_its_checkpoint_is_taken_back(small_tune: Any) -> None:
    with pytest.raises(PreemptedError):
        small_tune(observers=[StopAt(4)])
    _, _, run = small_tune(run="other")
    broken = run.path.with_name("run")
    with (broken / "metrics.jsonl").open("ab") as file:  # steps after the save, and a torn line
        file.write(b'{"step": 5, "loss": 99.0}\n{"step": 6, "lo\xc3')
    small_tune()
    lines = list(read_lines(broken / "metrics.jsonl"))
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert [line["loss"] for line in lines] == [line["loss"] for line in read_lines(run.metrics)]


def test_a_start_takes_back_what_an_attempt_without_a_checkpoint_logged(small_tune: Any) -> None:
    _, _, run = small_tune(train={"num_validations": 0})
    shutil.rmtree(run.checkpoints)
    small_tune(train={"num_validations": 0})
    assert [line["step"] for line in read_lines(run.metrics)] == list(range(1, 11))


def test_a_checkpoint_of_another_configuration_is_refused(small_tune: Any) -> None:
    with pytest.raises(PreemptedError):
        small_tune(observers=[StopAt(3)])
    with pytest.raises(UsageError, match="another configuration") as caught:
        small_tune(fingerprint="other data")
    assert caught.value.fix


def test_keys_and_values_are_not_computed_again(small_tune: Any) -> None:
    with pytest.raises(UsageError, match="activation checkpointing") as caught:
        small_tune(method="prefix-tuning", train={"activation_checkpointing": "selective"})
    assert caught.value.where == "train.activation_checkpointing"
