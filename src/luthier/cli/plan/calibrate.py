"""``luthier plan calibrate``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from luthier.cli.flags import Json
from luthier.cli.output import print_json, print_result

if TYPE_CHECKING:
    from luthier.planning.hardware import Calibration


def calibrate(*, json: Json = False) -> None:
    """Measure the speed of this machine for later plans.

    It takes less than half a minute. Run nothing else meanwhile.
    """
    import luthier

    measured = luthier.calibrate()
    if json:
        print_json(asdict(measured))
    else:
        print_result(f"Measured and stored for later plans: {_speeds(measured)}")


def _speeds(measured: Calibration) -> str:
    products = ", ".join(f"{value / 1e9:.0f} GFLOP/s in {k}" for k, value in measured.flops.items())
    return f"{products}, {measured.bandwidth / 1e9:.1f} GB/s"
