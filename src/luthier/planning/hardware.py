"""Devices: a catalogue of accelerators, and this machine."""

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
# What a CPU is taken for before it has been measured: figures of one AVX2 core. With instructions
# for bfloat16 it multiplies that at least twice as fast as float32; without them, it emulates it.
_CORE_FLOPS = 50e9
_CPU_BANDWIDTH = 15e9
_NATIVE_BFLOAT16, _EMULATED_BFLOAT16 = 2.0, 0.01
# As Linux names such instructions, of x86 and of Arm; torch asks for the same.
_BFLOAT16_FLAGS = frozenset({"amx_bf16", "amx_tile", "avx512_bf16", "bf16"})
_CPU_INFO = Path("/proc/cpuinfo")
# What a CPU multiplies in the time in which it moves a byte between products: fitted on the 54 rows
# in float32 of the matrix of 2026-11-23 in benchmarks/results; 40 to 100 fit almost as well.
_CPU_FLOPS_A_BYTE = 60.0
# The share of its peak that a device reaches of which nothing was published.
_UNKNOWN_EFFICIENCY = 0.5
GUESSED = "a guess: measure this machine with 'luthier plan calibrate'"
"""The words beside a time on a CPU that was not calibrated."""
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
        name: as in the catalogue.
        memory: bytes that the driver offers a program.
        bandwidth: of its memory, bytes a second.
        flops: peak of dense products by type, FLOP/s.
        link: to the other devices of its node, bytes a second in one direction.
        per_node: devices in a node.
        watts: the board's power limit.
        network: from node to node, bytes a second for each device.
        efficiency: the share of the peak that products of a transformer reach.
        overhead: seconds that the small operations of a layer take in a forward and backward pass.
        between: bytes a second that the operations between products and the update move, as
            `luthier.planning.time` counts them; 0: as many as the memory.
        measured: when its speed was measured; empty: it is stated, or guessed.
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
        """Whether its speed is a guess: that of a CPU which was not calibrated."""
        return self.is_cpu and not self.measured

    @property
    def title(self) -> str:
        """Its name at the beginning of a sentence."""
        return self.name.upper()

    def peak(self, dtype: str) -> float:
        """FLOP/s of dense products in ``dtype``.

        Raises:
            UsageError: the device does not multiply it.
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
        """Refuse what cannot be.

        Raises:
            UsageError: no device, or nodes that are not full.
        """
        if self.devices < 1:
            raise UsageError(f"{self.devices} devices are none", fix="give at least 1")
        per_node = self.device.per_node
        if self.devices > per_node and self.devices % per_node:
            raise UsageError(
                f"{self.devices} × {self.device.name} do not fill nodes of {per_node}",
                fix=f"choose a multiple of {per_node}, or at most {per_node}",
            )

    @property
    def nodes(self) -> int:
        """How many nodes."""
        return -(-self.devices // self.device.per_node)

    @property
    def in_node(self) -> int:
        """Devices of one node that take part."""
        return min(self.devices, self.device.per_node)


@cache
def catalogue() -> Mapping[str, Device]:
    """The accelerators that are known, by name."""
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
        UsageError: it is not in the catalogue.
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
    """The accelerator that a driver calls ``product``, such as ``NVIDIA A100-SXM4-80GB``.

    The catalogue's name whose words all occur in it, and of several the longest.
    """
    words = _words(product)
    fitting = [name for name in catalogue() if _words(name) <= words]
    return catalogue()[max(fitting, key=len)] if fitting else None


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


def this_cpu() -> Device:
    """This machine: as calibrated, or by the number of its cores."""
    if stored := _calibration():
        device = measured_cpu(stored.flops, stored.bandwidth, stored.overhead)
        return replace(device, measured=stored.date)
    import psutil

    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    single = _CORE_FLOPS * cores
    factor = _NATIVE_BFLOAT16 if multiplies_bfloat16() else _EMULATED_BFLOAT16
    return measured_cpu({"float32": single, "bfloat16": factor * single}, _CPU_BANDWIDTH, 0.0)


def multiplies_bfloat16() -> bool:
    """Whether this CPU says that it has instructions for products in bfloat16."""
    return any(
        not _BFLOAT16_FLAGS.isdisjoint(line.split()) for line in _cpu_info("flags", "Features")
    )


def _cpu_info(*names: str) -> list[str]:
    """What Linux tells of the processor under one of the names; nothing elsewhere."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    parts = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in parts if name.strip() in names]


def measured_cpu(flops: Mapping[str, float], bandwidth: float, overhead: float) -> Device:
    """This machine with these speeds (see `Device`)."""
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
    """What was measured on this machine.

    Attributes:
        flops: FLOP/s of the products of a transformer layer, by type.
        bandwidth: bytes a second that a copy reads and writes.
        overhead: seconds that a layer's small operations take in a forward and backward pass.
        date: when.
        machine: on what.
    """

    flops: dict[str, float]
    bandwidth: float
    overhead: float
    date: str
    machine: str


def calibration_path() -> Path:
    """Where the calibration of this machine lies."""
    return cache_folder() / "calibration.json"


def machine_key() -> str:
    """What a calibration is valid for: the processor and the number of its cores."""
    usual = platform.processor() or platform.machine()
    name = next(iter(_cpu_info("model name")), usual)
    return f"{name}, {os.cpu_count()} threads"


def store_calibration(calibration: Calibration) -> None:
    """Keep what was measured for later plans."""
    write_atomically(calibration_path(), json.dumps(asdict(calibration), indent=1) + "\n")


def _calibration() -> Calibration | None:
    """What was measured on this machine, if it was, and on this processor."""
    try:
        stored = Calibration(**json.loads(calibration_path().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return stored if stored.machine == machine_key() else None
