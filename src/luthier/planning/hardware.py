"""Devices: a catalogue of accelerators, and this machine's CPU."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from luthier.core.cache import cache_folder
from luthier.core.errors import UsageError
from luthier.core.files import write_atomically
from luthier.core.names import did_you_mean
from luthier.planning.tables import read_table

_GIB = 2**30
# Assumed speed of an uncalibrated CPU: figures of one AVX2 core. With bfloat16 instructions it
# multiplies bfloat16 at least twice as fast as float32; without them it emulates it.
_CORE_FLOPS = 50e9
_CPU_BANDWIDTH = 15e9
_NATIVE_BFLOAT16, _EMULATED_BFLOAT16 = 2.0, 0.01
# Linux's names of these instructions on x86 and Arm; torch checks the same ones.
_BFLOAT16_FLAGS = frozenset({"amx_bf16", "amx_tile", "avx512_bf16", "bf16"})
_CPU_INFO = Path("/proc/cpuinfo")
# Ratio of compute to memory traffic between products on a CPU: fitted on the 54 float32 rows of the
# matrix of 2026-11-23 in benchmarks/results; 40 to 100 fit almost as well.
_CPU_FLOPS_A_BYTE = 60.0
# Assumed share of the peak for devices without published results.
_UNKNOWN_EFFICIENCY = 0.5
GUESSED = "a guess: measure this machine with 'luthier plan calibrate'"
"""The note beside a time on an uncalibrated CPU."""
_ALIASES = {
    "a100": "a100-80gb",
    "a100-sxm": "a100-80gb",
    "a100-pcie": "a100-80gb-pcie",
    "h100-sxm": "h100",
    "v100": "v100-16gb",
    "6000-ada": "rtx-6000-ada",
    "a6000": "rtx-a6000",
    "3060": "rtx-3060-12gb",
    "rtx-3060": "rtx-3060-12gb",
    **{number: f"rtx-{number}" for number in ("3090", "4070", "4080", "4090", "5090")},
}


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator, or a CPU.

    Attributes:
        name: its catalogue name.
        memory: bytes that the driver makes available.
        bandwidth: memory bandwidth in bytes per second.
        flops: peak FLOP/s of dense matrix products by dtype.
        link: to other devices of its node, bytes per second in one direction.
        per_node: devices per node.
        watts: power limit of the board.
        network: between nodes, bytes per second and device.
        efficiency: the share of the peak that a transformer's matrix products reach.
        overhead: seconds of a layer's small operations in a forward and backward pass.
        between: bytes per second of the operations between products and of the update, as counted
            by `luthier.planning.time`; 0: the memory bandwidth.
        measured: the date of the calibration; empty: published or guessed values.
    """

    name: str
    memory: int
    bandwidth: float
    flops: Mapping[str, float]
    link: float = 0.0
    per_node: int = 1
    watts: float = 0.0
    network: float = 25e9
    efficiency: float = _UNKNOWN_EFFICIENCY
    overhead: float = 0.0
    between: float = 0.0
    measured: str = ""

    @property
    def is_cpu(self) -> bool:
        """Whether it is a CPU."""
        return self.name == "cpu"

    @property
    def is_guessed(self) -> bool:
        """Whether its speed is a guess, as for an uncalibrated CPU."""
        return self.is_cpu and not self.measured

    @property
    def title(self) -> str:
        """The name at the start of a sentence."""
        return self.name.upper()

    def peak(self, dtype: str) -> float:
        """Peak FLOP/s of dense products in ``dtype``.

        Raises:
            UsageError: the device does not support the dtype.
        """
        if dtype not in self.flops:
            raise UsageError(
                f"{self.title} lacks {dtype}", fix=f"use one of {', '.join(self.flops)}"
            )
        return self.flops[dtype]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Equal devices in equal nodes."""

    device: Device
    devices: int = 1

    def __post_init__(self) -> None:
        """Validate the number of devices.

        Raises:
            UsageError: there is no device, or a node is incomplete.
        """
        if self.devices < 1:
            raise UsageError(f"{self.devices} devices are not possible", fix="give at least 1")
        per_node = self.device.per_node
        if self.devices > per_node and self.devices % per_node:
            raise UsageError(
                f"{self.devices} × {self.device.name} do not fill nodes of {per_node}",
                fix=f"choose a multiple of {per_node}, or at most {per_node}",
            )

    @property
    def nodes(self) -> int:
        """The number of nodes."""
        return -(-self.devices // self.device.per_node)

    @property
    def in_node(self) -> int:
        """The number of devices used in each node."""
        return min(self.devices, self.device.per_node)


@cache
def catalogue() -> Mapping[str, Device]:
    """The known accelerators, by name."""
    return {
        name: Device(
            name=name,
            memory=round(row["memory_gib"] * _GIB),
            bandwidth=row["bandwidth"] * 1e9,
            flops={dtype: tera * 1e12 for dtype, tera in row["tflops"].items()},
            link=row["link"] * 1e9,
            per_node=row["per_node"],
            watts=row["watts"],
            efficiency=row.get("efficiency", _UNKNOWN_EFFICIENCY),
        )
        for name, row in read_table("hardware.yaml").items()
    }


def find_device(name: str) -> Device:
    """The device called ``name``; ``cpu`` is this machine.

    Raises:
        UsageError: the device is not in the catalogue.
    """
    wanted = name.lower().replace("_", "-").replace(" ", "-")
    if wanted == "cpu":
        return this_cpu()
    wanted = _ALIASES.get(wanted, wanted)
    known = catalogue()
    if wanted not in known:
        hint = did_you_mean(wanted, [*known, "cpu"], most=3, cutoff=0.4)
        hint = hint or f"known: cpu, {', '.join(known)}"
        raise UsageError(f"the device {name!r} is not in the catalogue", fix=hint)
    return known[wanted]


def device_of_product(product: str) -> Device | None:
    """The accelerator with the driver's product name, such as ``NVIDIA A100-SXM4-80GB``.

    The catalogue name whose words all occur in the product name; of several, the longest.
    """
    words = _words(product)
    fitting = [name for name in catalogue() if _words(name) <= words]
    return catalogue()[max(fitting, key=len)] if fitting else None


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


def this_cpu() -> Device:
    """This machine's CPU: calibrated values, or an estimate by its number of cores."""
    if stored := _calibration():
        device = measured_cpu(stored.flops, stored.bandwidth, stored.overhead)
        return replace(device, measured=stored.date)
    import psutil

    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    single = _CORE_FLOPS * cores
    factor = _NATIVE_BFLOAT16 if multiplies_bfloat16() else _EMULATED_BFLOAT16
    return measured_cpu({"float32": single, "bfloat16": factor * single}, _CPU_BANDWIDTH, 0.0)


def multiplies_bfloat16() -> bool:
    """Whether this CPU reports instructions for bfloat16 products."""
    return any(
        not _BFLOAT16_FLAGS.isdisjoint(line.split()) for line in _cpu_info("flags", "Features")
    )


def _cpu_info(*names: str) -> list[str]:
    """Values of one of the named fields in Linux's processor information; empty elsewhere."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    parts = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in parts if name.strip() in names]


def measured_cpu(flops: Mapping[str, float], bandwidth: float, overhead: float) -> Device:
    """This machine with measured speeds (see `Device`)."""
    import psutil

    return Device(
        name="cpu",
        memory=int(psutil.virtual_memory().total),
        bandwidth=bandwidth,
        flops=flops,
        efficiency=1.0,
        overhead=overhead,
        between=flops["float32"] / _CPU_FLOPS_A_BYTE,
    )


@dataclass(frozen=True, slots=True)
class Calibration:
    """Measured speeds of this machine.

    Attributes:
        flops: FLOP/s of a transformer layer's matrix products, by dtype.
        bandwidth: bytes per second read and written by a copy.
        overhead: seconds of a layer's small operations in a forward and backward pass.
        date: the date of the measurement.
        machine: the processor and its number of cores.
    """

    flops: dict[str, float]
    bandwidth: float
    overhead: float
    date: str
    machine: str


def calibration_path() -> Path:
    """The file with this machine's calibration."""
    return cache_folder() / "calibration.json"


def machine_key() -> str:
    """The key of a calibration: the processor and its number of cores."""
    usual = platform.processor() or platform.machine()
    name = next(iter(_cpu_info("model name")), usual)
    return f"{name}, {os.cpu_count()} threads"


def store_calibration(calibration: Calibration) -> None:
    """Store a calibration for later plans."""
    write_atomically(calibration_path(), json.dumps(asdict(calibration), indent=1) + "\n")


def _calibration() -> Calibration | None:
    """The stored calibration, if it belongs to this processor."""
    try:
        stored = Calibration(**json.loads(calibration_path().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return stored if stored.machine == machine_key() else None
