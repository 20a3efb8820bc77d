"""A training that is stopped and goes on, beside one that is not stopped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.observers import StopAt

from luthier.core.errors import PreemptedError
from luthier.core.files import read_lines


def trained(loaded: Any) -> dict[str, torch.Tensor]:
    """Copies of what a method has trained, by name."""
    return {
        name: parameter.detach().clone()
        for name, parameter in loaded.model.named_parameters()
        if parameter.requires_grad
    }


def assert_equal_weights(one: Any, other: Any) -> None:
    """Every bit is the same."""
    expected, found = trained(one), trained(other)
    assert expected.keys() == found.keys()
    assert expected
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def assert_resumes_exactly(
    small_tune: Any, model: str, method: str, loop: dict[str, Any] | None = None, **others: Any
) -> None:
    """Stopped three times, a tuning logs and learns what one that was not stopped does."""
    chosen: dict[str, Any] = {"train": {"num_validations": 3} | (loop or {}), **others}
    straight, record, run = small_tune(model, method, run="straight", **chosen)
    last = record.planned_steps
    for step in (3, 7, last):  # twice in the middle of an epoch, and after the last step
        with pytest.raises(PreemptedError, match=f"SIGTERM after step {step} of {last}"):
            small_tune(model, method, run="broken", observers=[StopAt(step)], **chosen)
    resumed, again, broken = small_tune(model, method, run="broken", **chosen)

    keys = ("step", "loss", "gradient_norm", "learning_rate", "tokens")
    expected, found = (
        [[line[key] for key in keys] for line in read_lines(directory.metrics)]
        for directory in (run, broken)
    )
    assert found == expected
    assert_equal_weights(straight, resumed)
    assert again.first_loss == record.first_loss
    assert again.best_validation_loss == record.best_validation_loss
    assert (again.best_step, again.trained_tokens) == (record.best_step, record.trained_tokens)
    resumes = [e["step"] for e in read_lines(broken.events) if e["event"] == "resume"]
    assert resumes == [3, 7, last]
