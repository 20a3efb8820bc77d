"""What is shown and logged of a step."""

from __future__ import annotations

import io
from typing import Any

import pytest

from luthier.core import console as module
from luthier.core.console import Console
from luthier.core.files import read_lines
from luthier.training import Limits
from luthier.training.observers import ProgressObserver, StepMetrics, WarningObserver


def metrics(**changes: Any) -> StepMetrics:
    values = {
        "step": 7,
        "loss": 2.3456,
        "learning_rate": 0.000123456,
        "gradient_norm": 0.51234,
        "tokens": 610,
        "tokens_per_second": 12345.6,
        "seconds": 2.0,
        "memory_bytes": round(2.9 * 2**30),
    }
    return StepMetrics.model_validate(values | changes)


def status(*steps: StepMetrics, validation: float | None = None) -> str:
    said: list[str] = []
    observer = ProgressObserver(lambda amount=1, *, status="": said.append(status))
    if validation is not None:
        observer.on_event("validation", step=6, loss=validation)
    for step in steps:
        observer.on_step(step)
    return said[-1]


def test_a_step_is_shown_with_all_that_is_known() -> None:
    assert status(metrics(mfu=0.314), validation=2.4) == (
        "loss 2.346 · validation 2.400 · lr 0.000123 · norm 0.512 · 12,346 tokens/s · MFU 31% "
        "· 2.9 GiB"
    )


def test_what_is_not_known_is_not_shown() -> None:
    shown = status(metrics())
    assert shown == "loss 2.346 · lr 0.000123 · norm 0.512 · 12,346 tokens/s · 2.9 GiB"


@pytest.mark.parametrize(
    ("rate", "shown"), [(2e-5, "lr 2e-05"), (1.23456e-5, "lr 1.23e-05"), (0.3, "lr 0.3")]
)
def test_a_learning_rate_has_three_digits(rate: float, shown: str) -> None:
    assert f" {shown} " in status(metrics(learning_rate=rate))


def test_a_log_fits_a_hundred_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PLAIN_INTERVAL_SECONDS", 0.0)
    out = io.StringIO()
    with Console(out).progress("Training prefix-tuning", 1000) as advance:
        observer = ProgressObserver(advance)
        observer.on_event("validation", step=6, loss=2.4)
        for _ in range(5):
            observer.on_step(metrics(mfu=0.314))
    lines = out.getvalue().splitlines()[-2:]
    assert lines[0].startswith("  Training prefix-tuning: 5/1000 · ")
    assert lines[1].startswith("    loss 2.346 · validation 2.400 · ")
    assert max(map(len, lines)) <= 100


def test_memory_is_measured_and_mfu_follows_from_the_peak(small_tune: Any) -> None:
    _, record, run = small_tune(limits=Limits(tokens_per_second=1e6))
    lines = [StepMetrics.model_validate(line) for line in read_lines(run.metrics)]
    for line in lines:
        assert line.mfu == pytest.approx(line.tokens_per_second / 1e6)
    peaks = [line.memory_bytes for line in lines]
    assert 50 * 2**20 < peaks[0] <= peaks[-1] <= record.peak_memory_bytes
    assert peaks == sorted(peaks)


def test_without_a_known_peak_there_is_no_mfu(small_tune: Any) -> None:
    _, _, run = small_tune()
    assert {line["mfu"] for line in read_lines(run.metrics)} == {None}


def test_a_speed_above_the_peak_is_said_once_and_never_shown() -> None:
    """More than 100 % cannot be: the peak was measured on a busy machine."""
    assert "MFU" not in status(metrics(mfu=1.09))
    out = io.StringIO()
    observer = WarningObserver(Console(out))
    for mfu in (None, 0.8, 1.0, 1.09, 1.2):
        observer.on_step(metrics(mfu=mfu))
    assert out.getvalue().count("warning") == 1
    assert "109% of the calibrated peak" in out.getvalue()
    assert "luthier plan calibrate" in out.getvalue()
