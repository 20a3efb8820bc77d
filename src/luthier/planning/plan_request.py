"""Conversion of a user's names into the planner's objects."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

from luthier.core.errors import UsageError
from luthier.core.method_facts import FACTS, plain_form
from luthier.core.targets import Names
from luthier.planning.architecture import Architecture
from luthier.planning.families import read_architecture
from luthier.planning.hardware import Cluster, Device, find_device
from luthier.planning.methods import METHODS
from luthier.planning.model_config import find_config
from luthier.planning.precision import usual_precision
from luthier.planning.search import BATCHES
from luthier.planning.sizes import Size, require_taken, size_settings
from luthier.planning.training_plan import Choice, Workload
from luthier.planning.training_setup import (
    PRECISIONS,
    Checkpointing,
    OptimizerName,
    ParallelName,
    PrecisionName,
)

_QLORA: PrecisionName = "nf4-double"


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A user's request to the planner; None stands for the usual value.

    Attributes:
        model: a Hub id, a folder, or a known name.
        hardware: a catalogue name, or ``cpu``.
        devices: number of devices.
        method: its name; ``qlora`` means lora on an NF4 base; in a search also ``any``.
        precision: of weights and activations; with ``qlora`` and an unquantised precision, that of
            everything except the quantised base.
        optimizer: the optimizer's name.
        parallel: the parallelism across devices.
        group: devices that share one copy, for hybrid.
        checkpointing: the kind of activation checkpointing.
        batch: micro-batch size in sequences per device.
        seq_len: tokens per sequence.
        target_length: tokens per decoder sequence, for encoder-decoder models; None: a quarter of
            the length.
        global_batch_size: sequences per optimizer step over all devices; None: one micro-batch per
            device.
        tokens: of the whole training; 0: one step.
        loss_token_fraction: the share of positions in the loss.
        loss_chunks: number of chunks in which the loss is computed.
        update_in_backward: whether gradients are applied as soon as they are computed.
        compiled: whether each layer is compiled.
        offload: whether shards of weights, gradients and states are kept in host memory.
        shard_embeddings: whether embedding and output layer are gathered like layers.
        rank: of LoRA and its variants; for this and the following, None means the method's default.
        virtual_tokens: number of virtual tokens of soft prompts.
        bottleneck: the bottleneck width of adapters.
        targets: the adapted modules: suffixes of names, or a regular expression.
        exclude_modules: targets that are not adapted.
        last_layers: number of layers trained by last-layers.
        parameters: regular expressions of the parameter names trained by selective.
        revision: of the model on the Hub.
    """

    model: str
    hardware: str = "cpu"
    devices: int = 1
    method: str = "lora"
    precision: str | None = None
    optimizer: str = "adamw"
    parallel: str | None = None
    group: int = 0
    checkpointing: str | None = None
    batch: int = 1
    seq_len: int = 512
    target_length: int | None = None
    global_batch_size: int | None = None
    tokens: float = 0.0
    loss_token_fraction: float = 1.0
    loss_chunks: int = 1
    update_in_backward: bool = False
    compiled: bool = False
    offload: bool = False
    shard_embeddings: bool = False
    rank: int | None = None
    virtual_tokens: int | None = None
    bottleneck: int | None = None
    targets: Names | None = None
    exclude_modules: Names = ()
    last_layers: int | None = None
    parameters: tuple[str, ...] = ()
    revision: str | None = None

    def architecture(self) -> tuple[Architecture, str]:
        """The model's architecture, and where its configuration was found.

        Raises:
            DataError: the configuration was not found, or its model type is unknown.
        """
        config, source = find_config(self.model, self.revision)
        return read_architecture(config, source), source

    def cluster(self) -> Cluster:
        """The devices.

        Raises:
            UsageError: the device is unknown, or the number of devices is invalid.
        """
        return Cluster(find_device(self.hardware), self.devices)

    def workload(self, architecture: Architecture) -> Workload:
        """The fixed part of the plan: model and training.

        Raises:
            UsageError: a number is out of range.
        """
        sizes = ("rank", "virtual_tokens", "bottleneck", "last_layers")
        counts = (
            "batch",
            "seq_len",
            "devices",
            "loss_chunks",
            "target_length",
            "global_batch_size",
        )
        for name in (*counts, *sizes):
            given = getattr(self, name)
            if given is not None and given < 1:
                raise UsageError(f"{name} is {given}", fix="give at least 1")
        if not 0 <= self.tokens < math.inf:
            raise UsageError(f"cannot train on {self.tokens} tokens", fix="give 0 or more")
        if not 0 < self.loss_token_fraction <= 1:
            raise UsageError(
                "loss_token_fraction is out of range", fix="give a number above 0, at most 1"
            )
        decoder = architecture.is_encoder_decoder
        target = self.target_length or (self.seq_len // 4 or 1 if decoder else 0)
        return Workload(
            model=architecture,
            seq_len=self.seq_len,
            target_length=target if decoder else 0,
            loss_token_fraction=self.loss_token_fraction,
            global_batch_size=self.global_batch_size or self.batch * self.devices,
            tokens=self.tokens,
            loss_chunks=self.loss_chunks,
            update_in_backward=self.update_in_backward,
            compiled=self.compiled,
            offload=self.offload,
            shard_embeddings=self.shard_embeddings,
            size=self._size(),
        )

    def _size(self) -> Size:
        size = Size(
            rank=self.rank,
            virtual_tokens=self.virtual_tokens,
            bottleneck=self.bottleneck,
            targets=self.targets,
            exclude_modules=self.exclude_modules,
            last_layers=self.last_layers,
            parameters=self.parameters,
        )
        require_taken(self.method, size)
        return size

    @property
    def size_settings(self) -> dict[str, Any]:
        """The settings of `tune` for the method's sizes."""
        return size_settings(self.method, self._size())

    def choice(self, device: Device) -> Choice:
        """The part of the plan that a search may vary.

        Raises:
            UsageError: the precision, optimizer, parallelism or checkpointing is unknown.
        """
        usual = usual_precision(device)
        precision = cast(PrecisionName, _one_of("precision", self.precision, PrecisionName, usual))
        compute: PrecisionName | None = None
        quantised = self._wants_quantised_base
        if quantised and not PRECISIONS[precision].linear:
            precision, compute = _QLORA, precision
        layout = _one_of("parallel", self.parallel, ParallelName, self._usual_layout())
        optimizer = _one_of("optimizer", self.optimizer, OptimizerName, "")
        checkpointing = _one_of("checkpointing", self.checkpointing, Checkpointing, "none")
        return Choice(
            method=plain_form(self.method),
            precision=precision,
            compute=compute,
            optimizer=cast(OptimizerName, optimizer),
            parallel=cast(ParallelName, layout),
            group=self.group or (device.per_node if layout == "hybrid" else 0),
            checkpointing=cast(Checkpointing, checkpointing),
            batch=self.batch,
        )

    def _usual_layout(self) -> str:
        return "fsdp" if self.devices > 1 or self.offload else "single"

    @property
    def _wants_quantised_base(self) -> bool:
        return plain_form(self.method) != self.method

    def methods(self) -> tuple[str, ...]:
        """The methods that a search may choose."""
        # selective is excluded: only a user can name the parameters to train.
        if self.method != "any":
            return (plain_form(self.method),)
        return tuple(
            name for name in METHODS if self.parameters or not FACTS[name].needs_parameters
        )

    def for_search(self) -> PlanRequest:
        """The request with a global batch size that all micro-batches of a search divide."""
        return replace(
            self, global_batch_size=self.global_batch_size or max(BATCHES) * self.devices
        )

    def fixed(self, device: Device) -> dict[str, Any]:
        """Fields of `Choice` that the user has fixed."""
        named = replace(self, method="lora" if self.method == "any" else self.method)
        choice = named.choice(device)
        given = {
            "precision": self.precision is not None or self._wants_quantised_base,
            "compute": self.precision is not None or self._wants_quantised_base,
            "parallel": self.parallel is not None or (self.offload and self.devices == 1),
            "group": self.parallel is not None,
            "checkpointing": self.checkpointing is not None,
            "optimizer": True,
        }
        return {name: getattr(choice, name) for name, is_given in given.items() if is_given}


def _one_of(what: str, given: str | None, names: object, usual: str) -> str:
    known = get_args(names)
    value = given or usual
    if value not in known:
        raise UsageError(f"unknown {what} {value!r}", fix=f"known: {', '.join(known)}")
    return value
