"""Diagnosis of this machine, with advice for everything that is missing."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import torch

from luthier.context.manifest import hardware, versions
from luthier.core.cache import cache_folder
from luthier.core.units import counted, format_bytes
from luthier.models.bundled import BUNDLED_MODELS
from luthier.models.device import default_device, free_memory, resolve_dtype
from luthier.models.resolve import bundled_path
from luthier.records.base import Record

_SCARCE_DISK_BYTES = 5 * 2**30
_SCARCE_MEMORY_BYTES = 4 * 2**30
_PRECISIONS = {
    torch.bfloat16: "bfloat16, which this machine multiplies natively",
    torch.float16: "float16: this device has matrix units for it, and none for bfloat16",
    torch.float32: "float32: this machine has no bfloat16 matrix instructions",
}


class Check(Record):
    """A component of this machine and its state."""

    name: str
    found: str
    ok: bool = True
    optional: bool = False
    advice: str = ""


def examine() -> list[Check]:
    """Check everything a run depends on, without changing anything."""
    return [
        Check(name="versions", found=", ".join(f"{k} {v}" for k, v in versions().items())),
        *_hardware(),
        _disk(),
        *_bundled(),
        _hub(),
        _data_root(),
    ]


def _hardware() -> list[Check]:
    machine, device = hardware(), default_device()
    cores, threads = int(machine["cores"]), int(machine["threads"])
    free = free_memory(device)
    dtype = resolve_dtype("auto", device)
    return [
        Check(
            name="device",
            found=f"{machine['device']}: {machine['name']}, "
            f"{counted(cores, 'core')}, {counted(threads, 'thread')}",
        ),
        Check(
            name="memory",
            found=f"{format_bytes(free)} free of {format_bytes(int(machine['memory_bytes']))}",
            ok=free >= _SCARCE_MEMORY_BYTES,
            advice="" if free >= _SCARCE_MEMORY_BYTES else "close programs before tuning",
        ),
        Check(
            name="precision",
            found=_PRECISIONS[dtype],
        ),
    ]


def _disk() -> Check:
    folder = cache_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    scarce = free < _SCARCE_DISK_BYTES
    return Check(
        name="cache",
        found=f"{folder}, {format_bytes(free)} free",
        ok=not scarce,
        advice="set LUTHIER_CACHE to a larger disk" if scarce else "",
    )


def _bundled() -> list[Check]:
    return [
        Check(
            name="model",
            found=f"{name}, {path}" if (path := bundled_path(model)) else f"{name} is missing",
            ok=path is not None,
            advice="" if path else f"run 'luthier models pull {name}'",
        )
        for name, model in BUNDLED_MODELS.items()
    ]


def _hub() -> Check:
    missing = [name for name in ("datasets", "pyarrow") if find_spec(name) is None]
    return Check(
        name="hub",
        found=f"{', '.join(missing)} missing"
        if missing
        else "parquet and Hub data sets can be read",
        ok=not missing,
        optional=True,
        advice="pip install 'luthier[hub]'" if missing else "",
    )


def _data_root() -> Check:
    root = os.environ.get("LUTHIER_DATA")
    found = root or "LUTHIER_DATA is not set; relative data paths start in the working directory"
    return Check(name="data root", found=found)
