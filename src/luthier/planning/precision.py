"""Training precisions of devices."""

from __future__ import annotations

from dataclasses import replace

from luthier.core.errors import UsageError
from luthier.planning.hardware import Device
from luthier.planning.runnable import precision_settings
from luthier.planning.training_setup import PRECISIONS, Precision, PrecisionName

_WHOLE: tuple[PrecisionName, ...] = ("bf16-mixed", "fp16-mixed", "float32")


def usual_precision(device: Device) -> PrecisionName:
    """bfloat16 if the device multiplies it faster than float32, otherwise float16, then float32."""
    single = device.flops.get("float32", 0.0)
    faster = (name for name in _WHOLE if device.flops.get(PRECISIONS[name].dtype, 0.0) > single)
    return next(faster, "float32")


def precision_on(device: Device, name: PrecisionName, compute: PrecisionName | None) -> Precision:
    """Bytes per number of each kind, for the precision called ``name`` on a device.

    Args:
        device: the device.
        name: the precision.
        compute: the precision of everything except a quantised base; None: the device's usual one.

    Raises:
        UsageError: the device lacks the dtype.
    """
    precision = PRECISIONS[name]
    if precision.linear:
        beside = PRECISIONS[compute or usual_precision(device)]
        precision = replace(
            precision, weights=beside.weights, compute=beside.compute, dtype=beside.dtype
        )
    if precision.dtype not in device.flops:
        raise UsageError(
            f"{device.title} lacks {precision.dtype}", fix=f"use --precision {_instead(device)}"
        )
    return precision


def _instead(device: Device) -> PrecisionName:
    """A precision that runs on the device: the usual one, if `tune` supports it."""
    usual = usual_precision(device)
    return usual if precision_settings(usual) is not None else "float32"
