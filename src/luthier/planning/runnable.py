"""The plans that `luthier tune` can run, and their settings.

The planner covers more than `tune`: other trainers' precisions, optimizers and parallelism. This
table is the only place that lists the part that `tune` supports. Names come from the
configuration's types (`luthier.core.choices`); the tests load every line's settings as a
configuration, and compare missing entries with the types.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from luthier.core.choices import Checkpointing, Dtype, OptimizerName, Parallelism
from luthier.core.method_facts import FACTS, quantised_form
from luthier.planning.sizes import Size, size_arguments
from luthier.planning.training_setup import PRECISIONS, QUANTISED, PrecisionName

NOT_YET = "tune cannot do this yet"
"""The note beside a plan that `tune` cannot run."""

Settings = tuple[str, ...]
"""Arguments of ``luthier tune``: ``section.key=value``."""

# Optimizers whose states can be sharded.
SHARDED_OPTIMIZERS = frozenset({"adamw", "sgd"})
_SHARDS = frozenset({"zero2", "fsdp", "hybrid"})


@dataclass(frozen=True, slots=True)
class TuneRun:
    """The settings with which `tune` runs a plan.

    Attributes:
        settings: arguments of `tune` for the supported parts of the plan.
        missing: parts of the plan that `tune` lacks; empty: it can run the plan.
    """

    settings: Settings = ()
    missing: tuple[str, ...] = ()

    @property
    def can(self) -> bool:
        """Whether `tune` can run the plan."""
        return not self.missing


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parts of a plan that `tune` must support.

    Attributes:
        method: its name; ``lora`` in a quantised precision is qlora.
        precision: of weights and activations.
        compute: the precision of everything except a quantised base.
        optimizer: the optimizer's name.
        parallel: the parallelism across devices.
        group: devices that share one copy, for hybrid.
        checkpointing: the kind of activation checkpointing.
        devices: number of devices.
        on_cpu: whether the device is a CPU.
        size: of the trained or added parameters.
        sizes: further settings, which `tune` always supports.
        extras: further features that `tune` lacks, in words.
        compiled: whether each layer is compiled.
    """

    method: str
    precision: PrecisionName
    compute: PrecisionName
    optimizer: str
    parallel: str
    group: int
    checkpointing: str
    devices: int
    on_cpu: bool
    size: Size = Size()
    sizes: Settings = ()
    extras: tuple[str, ...] = ()
    compiled: bool = False

    @property
    def is_quantised(self) -> bool:
        """Whether the base is quantised."""
        return bool(PRECISIONS[self.precision].linear)

    @property
    def is_sharded(self) -> bool:
        """Whether weights or states are sharded over several devices."""
        return self.devices > 1 and self.parallel in _SHARDS


def tune_run(wanted: Wanted) -> TuneRun:
    """The settings with which `tune` runs a plan, or the parts that it lacks."""
    parts = dict(_parts(wanted))
    settings = tuple(setting for found in parts.values() if found is not None for setting in found)
    missing = (name for name, found in parts.items() if found is None)
    return TuneRun((*settings, *wanted.sizes), (*missing, *wanted.extras))


def precision_settings(name: PrecisionName) -> Settings | None:
    """The settings of an unquantised precision; None: `tune` lacks it."""
    dtype = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}[
        PRECISIONS[name].dtype
    ]
    if dtype not in get_args(Dtype):
        return None
    masters = ("train.master_weights=false",) if name.endswith("-pure") else ()
    return (f"model.dtype={dtype}", *masters)


def _parts(wanted: Wanted) -> Iterator[tuple[str, Settings | None]]:
    """Each part of a plan in words, with its settings or None."""
    yield _method(wanted)
    yield _precision(wanted)
    yield _optimizer(wanted)
    yield _parallel(wanted)
    yield _checkpointing(wanted)
    if wanted.compiled:
        yield "compiled layers with shards", None if wanted.is_sharded else ("train.compile=true",)


def _method(wanted: Wanted) -> tuple[str, Settings | None]:
    name = wanted.method
    quantised = {precision: kind for kind, precision in QUANTISED.items()}
    base: Settings = ()
    if wanted.is_quantised:
        name = quantised_form(name)
        where = "model" if name == wanted.method else f"methods.{name}"
        if kind := quantised.get(wanted.precision):
            base = (f"{where}.quantisation={kind}",)
    if wanted.is_sharded and not FACTS[name].shardable:
        return f"{name} with {wanted.parallel}", None
    sizes = size_arguments(name, wanted.size)
    if FACTS[name].prunes and (rank := wanted.size.rank):
        if rank < 2:
            return f"{name} of rank 1", None
        sizes = (*sizes, f"methods.{name}.final_rank={max(1, rank * 2 // 3)}")
    return name, (f"method={name}", *base, *sizes)


def _precision(wanted: Wanted) -> tuple[str, Settings | None]:
    if not wanted.is_quantised:
        return wanted.precision, precision_settings(wanted.precision)
    if wanted.precision not in QUANTISED.values():
        return wanted.precision, None
    if wanted.is_sharded and wanted.precision == "int8":
        return f"int8 with {wanted.parallel}", None
    # Base weights are not trained, so they have no master copies.
    whole = precision_settings(wanted.compute)
    dtype = whole and tuple(one for one in whole if one.startswith("model."))
    return f"{wanted.precision} with {PRECISIONS[wanted.compute].dtype}", dtype


def _optimizer(wanted: Wanted) -> tuple[str, Settings | None]:
    name = wanted.optimizer
    if name not in get_args(OptimizerName):
        return name, None
    if wanted.on_cpu and name.startswith("paged-"):
        return f"{name} on a CPU", None
    if wanted.is_sharded and name not in SHARDED_OPTIMIZERS:
        return f"{name} with {wanted.parallel}", None
    if wanted.precision == "bf16-pure" and name != "adamw":
        return f"{name} in bf16-pure", None
    return name, (f"train.optimizer={name}",)


def _parallel(wanted: Wanted) -> tuple[str, Settings | None]:
    kind = wanted.parallel
    if wanted.devices == 1:
        return kind, ()
    if kind == "hybrid":
        return kind, ("train.parallelism=fsdp", f"train.shard_group={wanted.group}")
    known = kind in get_args(Parallelism)
    return kind, (f"train.parallelism={kind}",) if known else None


def _checkpointing(wanted: Wanted) -> tuple[str, Settings | None]:
    name = wanted.checkpointing
    if name != "none" and not FACTS[wanted.method].recomputable:
        return f"{wanted.method} with checkpointing", None
    known = name in get_args(Checkpointing)
    settings = () if name == "none" else (f"train.activation_checkpointing={name}",)
    return f"checkpointing {name}", settings if known else None
