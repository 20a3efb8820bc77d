"""What a training may forget, and the general text that is mixed in against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.objectives import SUPERVISED
from tests.observers import StopAt

from luthier.core.errors import DivergedError, PreemptedError
from luthier.core.files import read_lines

# A rate that soon ruins what the model knew of general text.
HARSH = {"method": "full", "settings": {"learning_rate": 0.1}, "general": 4}


def loop(limit: float, **changes: Any) -> dict[str, Any]:
    guards = {"guards": {"max_forgetting": limit}}
    return {"epochs": 4, "num_validations": 20, "schedule": "constant"} | guards | changes


def rises(run: Any) -> dict[int, float]:
    return {e["step"]: e["rise"] for e in read_lines(run.events) if e["event"] == "forgetting"}


def weights(loaded: Any) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in loaded.model.parameters()]


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_t5"])
def test_the_training_stops_beyond_the_limit_and_keeps_the_best_before(
    model: str, small_tune: Any, general_examples: Any, load: Any, request: pytest.FixtureRequest
) -> None:
    _, _, run = small_tune(model, run="free", train=loop(1e9), **HARSH)
    measured = rises(run)
    assert list(measured) == list(range(1, 21))
    limit = 0.5 * max(measured.values())
    assert limit > 0
    loaded, record, guarded = small_tune(model, run="guarded", train=loop(limit), **HARSH)
    first = next(step for step, rise in measured.items() if rise > limit)
    assert first > 1
    assert (record.stopped, record.steps) == ("forgetting", first)
    assert record.best_step < first
    assert rises(guarded) == {step: rise for step, rise in measured.items() if step <= first}
    (found,) = [e for e in read_lines(guarded.events) if e["event"] == "guard"]
    assert (found["kind"], found["step"], found["action"]) == ("forgetting", first, "stop")
    base = load(request.getfixturevalue(model))
    texts = general_examples(base, 4)
    before, after = (
        SUPERVISED.mean_loss(m.model, texts, m.device, batch_tokens=128) for m in (base, loaded)
    )
    assert after - before == pytest.approx(measured[record.best_step], abs=1e-5)
    assert after - before <= limit


def test_without_validation_examples_the_last_state_within_the_limit_is_kept(
    small_tune: Any,
) -> None:
    _, _, run = small_tune(run="free", train=loop(1e9), validate=False, **HARSH)
    limit = 0.5 * max(rises(run).values())
    _, record, guarded = small_tune(run="guarded", train=loop(limit), validate=False, **HARSH)
    assert record.stopped == "forgetting"
    assert record.best_step == record.steps - 1
    assert rises(guarded)[record.best_step] <= limit


def test_nothing_within_the_limit_is_an_error_that_stays_one(small_tune: Any) -> None:
    for _ in range(2):
        with pytest.raises(DivergedError, match="first validation") as caught:
            small_tune(train=loop(1e-9), **HARSH | {"settings": {"learning_rate": 1.0}})
        assert "data.replay" in caught.value.fix


def test_the_end_of_the_time_does_not_excuse_forgetting(small_tune: Any, tmp_path: Path) -> None:
    chosen = HARSH | {"settings": {"learning_rate": 1.0}}
    with pytest.raises(DivergedError, match="first validation"):
        small_tune(train=loop(1e-9, max_time=1e-3), **chosen)
    assert len(list(read_lines(tmp_path / "run" / "metrics.jsonl"))) == 1


def test_a_loss_on_general_text_that_is_not_finite_is_a_divergence(small_tune: Any) -> None:
    chosen = HARSH | {"settings": {"learning_rate": 1e25}}
    with pytest.raises(DivergedError, match="not finite"):
        small_tune(train=loop(0.1, max_grad_norm=1e30), **chosen)


def test_a_stop_is_taken_again_after_a_kill(small_tune: Any) -> None:
    _, _, run = small_tune(run="free", train=loop(1e9), **HARSH)
    measured = rises(run)
    limit = 0.5 * max(measured.values())
    last = next(step for step, rise in measured.items() if rise > limit)
    straight, record, _ = small_tune(run="straight", train=loop(limit), **HARSH)
    with pytest.raises(PreemptedError):
        small_tune(run="broken", train=loop(limit), observers=[StopAt(last)], **HARSH)
    resumed, again, broken = small_tune(run="broken", train=loop(limit), **HARSH)
    assert (again.stopped, again.steps, again.best_step) == (
        "forgetting",
        record.steps,
        record.best_step,
    )
    assert [line["step"] for line in read_lines(broken.metrics)] == list(range(1, last + 1))
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(resumed), strict=True))


def test_general_text_that_is_mixed_in_is_forgotten_less(small_tune: Any) -> None:
    chosen = HARSH | {"settings": {"learning_rate": 0.01}}
    _, plain, without = small_tune(run="without", train=loop(1e9), **chosen)
    _, mixed, with_replay = small_tune(run="with", train=loop(1e9), replay=0.4, **chosen)
    assert (plain.replayed, mixed.replayed) == (0, 7)
    assert (plain.examples, mixed.examples) == (10, 10)
    assert mixed.planned_steps == 4 * 9
    assert rises(with_replay)[mixed.steps] < rises(without)[plain.steps] - 0.1


def test_a_training_with_replay_resumes_exactly(small_tune: Any) -> None:
    chosen = {"method": "full", "general": 5, "replay": 0.3, "train": {"epochs": 3}}
    straight, record, run = small_tune(run="straight", **chosen)
    for step in (2, 8):
        with pytest.raises(PreemptedError):
            small_tune(run="broken", observers=[StopAt(step)], **chosen)
    resumed, again, broken = small_tune(run="broken", **chosen)
    assert again.steps == record.steps == 3 * 7
    losses = [[line["loss"] for line in read_lines(r.metrics)] for r in (run, broken)]
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(resumed), strict=True))
