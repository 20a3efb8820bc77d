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
    ("again", "is_busy"), [(1.0, False), (0.9, False), (0.7, True), (2.0, True)]
)
def test_two_measurements_that_cannot_both_be_right_are_said(again: float, is_busy: bool) -> None:
    first = {"float32": 1e11, "bfloat16": 2e11}
    said = module._disagreement(first, {"float32": again * 1e11, "bfloat16": 2e11})
    assert bool(said) == is_busy
    assert ("float32" in said and "again" in said) == is_busy


def test_a_busy_beginning_does_not_lower_the_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_SECONDS_EACH", 0.02)
    monkeypatch.setattr(module, "_COPY_BYTES", 2**24)
    speeds = iter([1e10, 1e9, 1e11, 1e9])  # float32 and bfloat16, then both again
    monkeypatch.setattr(module, "_product_flops", lambda dtype: next(speeds))
    out = io.StringIO()
    assert calibrate(Console(out)).flops == {"float32": 1e11, "bfloat16": 1e9}
    assert "warning: two measurements of float32 differ by 90%" in out.getvalue()
