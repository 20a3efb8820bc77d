"""A step that went wrong changes no weight, is never logged as finite, and is counted."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.objectives import SUPERVISED

from luthier.config import GuardsConfig
from luthier.core.errors import DataError, DivergedError, PreemptedError
from luthier.core.files import read_lines
from luthier.training import step as step_module
from luthier.training.guards import Guards
from luthier.training.objectives.supervised import Supervised


class Watch:
    """Keeps the weights after every step and event, and may ask the process to stop."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.stop_at = stop_at

    def on_step(self, metrics: Any) -> None:
        assert math.isfinite(metrics.loss)
        assert math.isfinite(metrics.gradient_norm)
        if metrics.step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_event(self, event: str, **values: Any) -> None:
        self.events.append({"event": event, **values})

    @property
    def found(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == "guard"]


class Poison:
    """Makes the loss, or its gradient alone, wrong in the steps that are named (from 0)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: set[int], where: str, bad: float):
        self.steps, self.where, self.bad, self.changed = steps, where, bad, []
        self.step = step_module.optimizer_step
        self.now = 0
        monkeypatch.setattr("luthier.training.loop.optimizer_step", self.optimizer_step)

    def spoil(self, loss: torch.Tensor) -> torch.Tensor:
        if self.now not in self.steps:
            return loss
        if self.where == "loss":
            return loss * self.bad
        loss.register_hook(lambda gradient: gradient * self.bad)
        return loss

    def optimizer_step(
        self, job: Any, weights: Any, optimizer: Any, batch: Any, step: int, *rest: Any
    ) -> Any:
        self.now = step
        before = {name: value.detach().clone() for name, value in weights.masters.items()}
        try:
            poisoned = dataclasses.replace(job, objective=Poisoned(self))
            return self.step(poisoned, weights, optimizer, batch, step, *rest)
        finally:
            changed = [n for n, v in weights.masters.items() if not torch.equal(v, before[n])]
            self.changed.append(bool(changed))


@dataclasses.dataclass(frozen=True)
class Poisoned(Supervised):
    """The loss as the poison leaves it; validations have their own."""

    poison: Poison

    def summed_loss(self, *arguments: Any, **options: Any) -> torch.Tensor:
        return self.poison.spoil(super().summed_loss(*arguments, **options))


@pytest.mark.sample(4)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_step_that_is_not_finite_is_skipped(
    method: str, where: str, bad: float, small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    poison = Poison(monkeypatch, {2, 6}, where, bad)
    chosen = {"guards": {"non_finite": "skip"}}
    loaded, record, run = small_tune("tiny_llama", method, train=chosen, observers=[watch])
    assert poison.changed == [step not in (2, 6) for step in range(10)]
    assert [line["step"] for line in read_lines(run.metrics)] == [1, 2, 4, 5, 6, 8, 9, 10]
    assert [event["step"] for event in watch.found] == [3, 7]
    logged = [event for event in read_lines(run.events) if event["event"] == "guard"]
    assert logged == watch.found
    for event in logged:
        assert (event["kind"], event["action"]) == ("non-finite", "skip")
        assert f"the {where} is not finite" in event["message"]
        assert len(event["examples"]) == 2
    assert record.steps == 10
    assert all(torch.isfinite(p).all() for p in loaded.model.parameters())


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_not_finite_aborts(
    where: str, small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    poison = Poison(monkeypatch, {4}, where, math.nan)
    with pytest.raises(DivergedError, match=f"the {where} is not finite in step 5") as caught:
        small_tune(observers=[watch])
    assert caught.value.exit_code == 5
    assert poison.changed == [True] * 4 + [False]
    (event,) = watch.found
    assert event["action"] == "abort"
    assert all(name in caught.value.where for name in event["examples"])
    assert "learning rate" in caught.value.fix


def test_before_the_first_update_it_is_the_model_that_is_looked_at(
    small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Poison(monkeypatch, {0}, "loss", math.nan)
    with pytest.raises(DivergedError, match="the loss is not finite in step 1") as caught:
        small_tune()
    assert "learning rate" not in caught.value.fix
    assert "float32" in caught.value.fix


@pytest.mark.parametrize(
    ("limits", "steps", "last"),
    [
        ({"max_skipped_in_row": 2}, {3, 4, 5, 6}, 6),
        ({"max_skipped_in_row": 9, "max_skipped": 1}, {1, 5}, 6),
    ],
)
def test_too_many_skipped_steps_end_the_training(
    limits: dict[str, int],
    steps: set[int],
    last: int,
    small_tune: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Poison(monkeypatch, steps, "loss", math.nan)
    guards = {"non_finite": "skip", **limits}
    with pytest.raises(DivergedError, match=f"skipped .* up to step {last},") as caught:
        small_tune(train={"guards": guards})
    assert caught.value.exit_code == 5


def test_what_was_skipped_is_remembered_over_a_resume(
    small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards = {"non_finite": "skip", "max_skipped_in_row": 9, "max_skipped": 2}
    Poison(monkeypatch, {0, 1, 6}, "loss", math.nan)
    with pytest.raises(PreemptedError):
        small_tune(train={"guards": guards}, observers=[Watch(stop_at=4)])
    with pytest.raises(DivergedError, match="skipped 3 steps up to step 7"):
        small_tune(train={"guards": guards})


def test_a_training_of_skipped_steps_alone_is_none(
    small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Poison(monkeypatch, set(range(10)), "loss", math.nan)
    guards = {"non_finite": "skip", "max_skipped_in_row": 99}
    with pytest.raises(DivergedError, match="every step was skipped"):
        small_tune(train={"guards": guards, "num_validations": 0})


def feed(guards: Guards, losses: list[float], norms: list[float]) -> list[bool]:
    pairs = enumerate(zip(losses, norms, strict=True))
    return [guards.admit(step, loss, norm, 1, ["a", "b"]) for step, (loss, norm) in pairs]


@pytest.mark.parametrize(
    ("loss", "norm", "kind"),
    [(9.0, 1.0, "loss-spike"), (2.0, 500.0, "gradient-spike"), (3.0, 50.0, None)],
)
def test_a_spike_is_measured_by_the_last_steps(loss: float, norm: float, kind: str | None) -> None:
    usual = [2.0 + 0.1 * (step % 3) for step in range(20)]
    for action in ("warn", "skip", "abort"):
        config = GuardsConfig.model_validate({"loss_spike": action, "gradient_spike": action})
        guards = Guards(config)
        assert all(feed(guards, usual, [1.0] * 20))
        assert not guards.take_findings()
        if kind and action == "abort":
            with pytest.raises(DivergedError, match="jumps to"):
                guards.admit(20, loss, norm, 1, ["a"])
        else:
            assert guards.admit(20, loss, norm, 1, ["a"]) == (kind is None or action == "warn")
        found = [(finding.kind, finding.action) for finding in guards.take_findings()]
        assert found == ([(kind, action)] if kind else [])


def test_a_spike_that_was_skipped_does_not_count_as_usual() -> None:
    guards = Guards(GuardsConfig(loss_spike="skip", max_skipped_in_row=50, max_skipped=50))
    assert feed(guards, [2.0] * 12 + [90.0] * 20, [1.0] * 32) == [True] * 12 + [False] * 20


def test_a_learning_rate_that_does_nothing_is_found(small_tune: Any) -> None:
    watch = Watch()
    # Nothing in float32: the table has a row of zeros, which any other rate would change.
    chosen: dict[str, Any] = {"settings": {"learning_rate": 1e-50}, "observers": [watch]}
    small_tune("tiny_llama", "full", **chosen)
    (event,) = watch.found
    assert event["kind"] == "no-change"
    assert event["step"] == 8
    stop = {"guards": {"no_change": "abort"}}
    with pytest.raises(DivergedError, match="changed no trained weight"):
        small_tune("tiny_llama", "full", run="other", train=stop, **chosen)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_learning_rate_that_works_is_not(method: str, small_tune: Any) -> None:
    watch = Watch()
    small_tune("tiny_llama", method, observers=[watch])
    assert not watch.found


def test_a_batch_without_trained_tokens_is_left_out(
    small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from luthier.training import loop

    watch, take = Watch(), step_module.optimizer_step

    def optimizer_step(job: Any, w: Any, o: Any, batch: Any, step: int, *rest: Any) -> Any:
        if step == 3:
            batch = [dataclasses.replace(e, trained=(False,) * len(e.trained)) for e in batch]
        return take(job, w, o, batch, step, *rest)

    monkeypatch.setattr(loop, "optimizer_step", optimizer_step)
    _, _, run = small_tune(observers=[watch])
    (event,) = watch.found
    assert (event["kind"], event["action"], event["step"]) == ("no-trained-token", "skip", 4)
    assert 4 not in [line["step"] for line in read_lines(run.metrics)]


def test_data_without_trained_tokens_is_refused(load: Any, make_examples: Any, tiny_llama: Any):
    examples = make_examples(load(tiny_llama), 3)
    SUPERVISED.require_trained_tokens(examples)
    none = [dataclasses.replace(e, trained=(False,) * len(e.trained)) for e in examples]
    with pytest.raises(DataError, match="the training examples have no trained tokens"):
        SUPERVISED.require_trained_tokens(none)


def test_a_loss_that_is_not_a_number_is_named_so_even_without_a_gradient() -> None:
    with pytest.raises(DivergedError, match="loss is not finite"):
        Guards(GuardsConfig()).admit(0, math.nan, 0.0, 3, ["a"])


def test_an_update_that_ruins_the_weights_is_never_saved(small_tune: Any, tmp_path: Path) -> None:
    """Loss and gradient are finite; the learning rate is absurd."""
    absurd = {"learning_rate": 1e38}
    with pytest.raises(DivergedError, match="not finite"):
        small_tune(
            "tiny_llama", "full", settings=absurd, train={"num_validations": 0, "epochs": 0.2}
        )
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_validation_that_is_not_finite_is_a_divergence(small_tune: Any) -> None:
    with pytest.raises(DivergedError, match="not finite"):
        small_tune(
            "tiny_llama", "full", settings={"learning_rate": 1e38}, train={"num_validations": 10}
        )
