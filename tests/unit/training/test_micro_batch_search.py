"""Forward passes as large as fit, and smaller ones when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tests.observers import StopAt
from torch import nn

from luthier.core.errors import PreemptedError, ResourceError
from luthier.core.files import read_json, read_lines
from luthier.training import Limits
from luthier.training import stochastic_rounding as stochastic

PLENTY = Limits(memory=2**50, micro_batch_tokens=512)


@contextmanager
def memory_for(tokens: int, error: Exception) -> Iterator[list[int]]:
    """A machine on which a forward pass of more tokens finds no memory; the sizes that were tried.

    The embedding is the first module that sees a batch.
    """
    tried: list[int] = []

    def before(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if isinstance(module, nn.Embedding) and torch.is_grad_enabled():
            tried.append(arguments[0].numel())
            if arguments[0].numel() > tokens:
                raise error

    handle = nn.modules.module.register_module_forward_pre_hook(before)
    try:
        yield tried
    finally:
        handle.remove()


def losses(run: Any) -> list[float]:
    return [line["loss"] for line in read_lines(run.metrics)]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_the_mathematics_stays_the_same_when_memory_runs_out(
    error: Exception, small_tune: Any
) -> None:
    settings = {"micro_batch_tokens": 512, "max_padding": 0.9, "batch_size": 4}
    _, _, straight = small_tune(run="straight", train=settings)
    with memory_for(256, error):
        _, record, run = small_tune(run="narrow", train=settings)
    assert record.steps == record.planned_steps
    assert losses(run) == pytest.approx(losses(straight), rel=1e-5)
    events = [event for event in read_lines(run.events) if event["event"] == "memory"]
    assert events
    assert events[0]["micro_batch_tokens"] < 512
    newest = run.checkpoints / (run.checkpoints / "latest").read_text().strip()
    assert (
        read_json(newest / "state.json")["micro_batch_tokens"] == events[-1]["micro_batch_tokens"]
    )


def test_another_error_is_not_taken_for_a_lack_of_memory(small_tune: Any) -> None:
    with (
        # More tokens than the pass has that finds what can learn.
        memory_for(32, RuntimeError("a shape is wrong")),
        pytest.raises(RuntimeError, match="shape"),
    ):
        small_tune()


def test_one_example_that_does_not_fit_is_named(small_tune: Any) -> None:
    with (
        memory_for(10, torch.OutOfMemoryError("CUDA out of memory")),
        pytest.raises(ResourceError, match="only the longest example") as caught,
    ):
        small_tune()
    assert caught.value.fix


def test_what_is_tried_before_the_first_step_leaves_no_trace(small_tune: Any) -> None:
    chosen = {"method": "full", "settings": {"weight_decay": 0.1}, "train": {"batch_size": 4}}
    _, _, straight = small_tune(run="straight", **chosen)
    _, _, tried = small_tune(run="tried", limits=Limits(2**50, 128), **chosen)
    assert losses(tried) == losses(straight)


def test_what_fits_is_found_before_the_first_step(small_tune: Any) -> None:
    with memory_for(256, torch.OutOfMemoryError("CUDA out of memory")):
        _, _, run = small_tune(train={"max_padding": 0.9, "batch_size": 4}, limits=PLENTY)
    assert [e["event"] for e in read_lines(run.events) if e["event"] == "memory"] == []
    newest = run.checkpoints / (run.checkpoints / "latest").read_text().strip()
    assert read_json(newest / "state.json")["micro_batch_tokens"] <= 256


def test_a_limit_that_nothing_meets_is_told(small_tune: Any) -> None:
    with pytest.raises(ResourceError, match="exceeds the memory"):
        small_tune(limits=Limits(1, 512))


def test_what_was_found_is_kept_where_the_training_goes_on(small_tune: Any) -> None:
    """What dropout leaves out depends on how a step is cut into forward passes."""
    chosen: dict[str, Any] = {
        "train": {"batch_size": 4, "max_padding": 0.9},
        "settings": {"dropout": 0.5},
    }
    _, _, straight = small_tune(run="straight", limits=PLENTY, **chosen)
    with pytest.raises(PreemptedError):
        small_tune(run="broken", limits=PLENTY, observers=[StopAt(2)], **chosen)
    _, _, broken = small_tune(run="broken", limits=Limits(2**50, 64), **chosen)
    assert losses(broken) == losses(straight)
    _, _, other = small_tune(run="other", limits=Limits(2**50, 64), **chosen)
    assert losses(other) != losses(straight)


def test_an_update_that_found_no_memory_is_not_taken_twice(
    small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some weights are changed by then."""
    whole, calls = stochastic._update, []

    def lacking(*arguments: Any, **more: Any) -> None:
        calls.append(1)
        if len(calls) == 20:
            raise MemoryError
        whole(*arguments, **more)

    monkeypatch.setattr(stochastic, "_update", lacking)
    settings = {"master_weights": False}
    with pytest.raises(ResourceError, match="memory ran out in the update"):
        small_tune(method="full", dtype="bfloat16", train=settings)
    assert len(calls) == 20
