from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from luthier.core.console import Console
from luthier.planning.hardware import calibration_path, machine_key, this_cpu
from luthier.preflight import calibrate as module
from luthier.preflight.calibrate import calibrate


def test_this_machine_is_measured_and_the_result_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_SECONDS_EACH", 0.02)
    monkeypatch.setattr(module, "_PRODUCTS", ((64, 128, 128),))
    monkeypatch.setattr(module, "_COPY_BYTES", 2**24)
    assert not this_cpu().measured
    measured = calibrate(Console(quiet=True))
    assert calibration_path().is_file()
    assert measured.machine == machine_key()
    device = this_cpu()
    assert device.measured == measured.date
    assert device.flops == measured.flops
    # Anything that runs Python today does a billion products and moves a gigabyte in a second, and
    # no processor does a thousand times as much as this.
    assert 1e8 < measured.flops["bfloat16"] < 1e15
    assert 1e9 < measured.flops["float32"] < 1e14
    assert 5e8 < measured.bandwidth < 5e12
    assert 0 < measured.overhead < 1


def test_what_holds_up_one_run_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the run to warm up counts, nor one that something else delays."""
    monkeypatch.setattr(module, "_SECONDS_EACH", 0.0)
    delays = iter([0.3, 0.01, 0.3, 0.01])
    assert 0.01 <= module._seconds(lambda: time.sleep(next(delays))) < 0.2


@pytest.mark.parametrize(
    ("others", "is_busy"),
    [((1.0,), False), ((0.9,), False), ((0.7,), True), ((2.0,), True), ((0.5, 1.9, 2.0), False)],
)
def test_measurements_that_cannot_all_be_right_are_said(
    others: tuple[float, ...], is_busy: bool
) -> None:
    speeds = [{"float32": share * 1e11, "bfloat16": 2e11} for share in (1.0, *others)]
    said = module._disagreement(speeds)
    assert bool(said) == is_busy
    assert ("float32" in said and "again" in said) == is_busy


@pytest.mark.parametrize(
    ("speeds", "stored", "warns"),
    [
        ((1e11, 1e11), 1e11, False),
        ((1e10, 1e11, 1e11), 1e11, False),
        ((1e11, 1e10, 2e10, 1e11), 1e11, False),
        ((1e10, 2e10, 4e10, 8e10), 8e10, True),
    ],
)
def test_a_busy_machine_is_measured_again(
    speeds: tuple[float, ...],
    stored: float,
    warns: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_SECONDS_EACH", 0.02)
    monkeypatch.setattr(module, "_COPY_BYTES", 2**24)
    rounds = iter(speeds)
    monkeypatch.setattr(module, "_products", lambda: {"float32": next(rounds), "bfloat16": 1e9})
    out = io.StringIO()
    assert calibrate(Console(out)).flops == {"float32": stored, "bfloat16": 1e9}
    assert list(rounds) == []
    assert ("warning: the two fastest of 4 measurements of float32" in out.getvalue()) == warns
