"""Options that several plan commands share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from luthier.cli.flags import Whole, WholeOrNone, one_of
from luthier.cli.groups import BATCH, METHOD, MODEL_AND_HARDWARE, TRAINING
from luthier.core.errors import UsageError
from luthier.core.method_facts import METHOD_NAMES
from luthier.core.targets import Names
from luthier.planning.plan_request import PlanRequest
from luthier.planning.training_setup import (
    Checkpointing,
    OptimizerName,
    ParallelName,
    PrecisionName,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance as Options

ANY = "any"
"""Stands for any model, device or method in a search."""


def _read_names(_: Any, tokens: Sequence[Any]) -> Names:
    """Names as in the configuration: a list in brackets, or one text.

    Raises:
        ValueError: the text starts with a bracket but is not a list of names.
    """
    text: str = tokens[0].value
    if not text.lstrip().startswith("["):
        return text
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{text!r} is not a list of names; write it as [q_proj, v_proj]")
    return tuple(found)


def _read_list(hint: Any, tokens: Sequence[Any]) -> tuple[str, ...]:
    """One or several names, as a list."""
    found = _read_names(hint, tokens)
    return (found,) if isinstance(found, str) else found


def _require_price(_: Any, price: float | None) -> None:
    """Reject a negative or infinite price."""
    if price is not None and not 0 <= price < math.inf:
        raise ValueError("Give a number of at least 0.")


Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Model = Annotated[str, Parameter(group=MODEL_AND_HARDWARE)]
Price = Annotated[
    float | None,
    Parameter(
        validator=_require_price,
        group=MODEL_AND_HARDWARE,
        help="Price per device-hour, in any currency.",
    ),
]
_NAMES = Parameter(n_tokens=1, metavar="NAMES", negative="", show_default=False)


@Parameter(name="*", group=MODEL_AND_HARDWARE)
@dataclass(frozen=True)
class HardwareOptions:
    """Devices and parallelism."""

    hardware: str = "cpu"
    "A device such as h100, rtx-4090 or cpu; in a search also any."
    devices: Whole = 1
    "Number of devices."
    parallel: Annotated[
        str | None,
        one_of(ParallelName, ": the kind of parallelism; default: fsdp for several devices"),
    ] = None
    group: Whole = 0
    "Devices that share one copy of the model, for hybrid; 0: the devices of a node."
    offload: Flag = False
    "Keep sharded weights, gradients and states in host memory, and update them there."
    shard_embeddings: Flag = False
    "Gather embedding and output layer when used, like layers."


@Parameter(name="*", group=METHOD)
@dataclass(frozen=True)
class MethodOptions:
    """The tuning method and its precision."""

    method: Annotated[str, one_of(METHOD_NAMES, "; in a search also any")] = "lora"
    rank: WholeOrNone = None
    "The rank of LoRA and its variants; default: as in tune."
    targets: Annotated[Names | None, _NAMES, Parameter(converter=_read_names)] = None
    "Modules to adapt, as in tune: [q_proj, v_proj], a regular expression, or all-linear."
    exclude_modules: Annotated[Names, _NAMES, Parameter(converter=_read_names)] = ()
    "Modules to exclude, written like targets."
    virtual_tokens: WholeOrNone = None
    "Number of virtual tokens of a soft prompt; default: as in tune."
    bottleneck: WholeOrNone = None
    "The bottleneck width of adapters; default: as in tune."
    last_layers: WholeOrNone = None
    "Number of layers trained by last-layers; default: as in tune."
    parameters: Annotated[tuple[str, ...], _NAMES, Parameter(converter=_read_list)] = ()
    "Regular expressions of the parameter names trained by selective: [mlp, norm]."
    precision: Annotated[
        str | None,
        one_of(
            PrecisionName,
            "; default: the device's usual one. With qlora, the precision "
            "of everything except quantised weights",
        ),
    ] = None
    optimizer: Annotated[str, one_of(OptimizerName)] = "adamw"
    checkpointing: Annotated[
        str | None,
        one_of(Checkpointing, ": activation checkpointing; default: none"),
    ] = None


@Parameter(name="*", group=BATCH)
@dataclass(frozen=True)
class BatchOptions:
    """The batch of a device."""

    batch: Whole = 1
    "Micro-batch size in sequences per device."
    seq_len: Whole = 512
    "Tokens per sequence."
    target_length: WholeOrNone = None
    "Tokens per decoder sequence of encoder-decoder models; default: a quarter of --seq-len."
    loss_token_fraction: float = 1.0
    "The share of positions in the loss."


@Parameter(name="*", group=TRAINING)
@dataclass(frozen=True)
class TrainingOptions:
    """Optimizer steps and the length of the training."""

    global_batch_size: WholeOrNone = None
    "Sequences per optimizer step over all devices; default: one micro-batch per device."
    tokens: Annotated[float, Parameter(show_default=False)] = 0.0
    "Tokens of the whole training, such as 1e7; default: one step."
    loss_chunks: Whole = 1
    "Number of chunks in which the loss is computed."
    update_in_backward: Flag = False
    "Update each weight as soon as its gradient is computed."
    compiled: Flag = False
    "Compile each layer, which keeps less for the backward pass."


def search_request(model: str, *options: Options | None) -> PlanRequest:
    """The request of a user; model, hardware and method may be `ANY`.

    Args:
        model: its name.
        options: data classes with fields of `PlanRequest`; None: not given.
    """
    given = [asdict(one) for one in options if one]
    fields: dict[str, Any] = {key: value for one in given for key, value in one.items()}
    return PlanRequest(model=model, **fields)


def plan_request(model: str, *options: Options | None) -> PlanRequest:
    """The request of a user for one model on one kind of device.

    Raises:
        UsageError: one of them is left open, as in a search.
    """
    request = search_request(model, *options)
    if ANY in (request.model, request.hardware, request.method):
        raise UsageError(
            "'any' model, device or method needs a search",
            fix="use 'luthier plan search' with the same options",
        )
    return request
