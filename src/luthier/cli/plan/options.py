"""Options that several plans share."""

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
"""In place of a model, a device or a method: whichever a search finds."""


def _read_names(_: Any, tokens: Sequence[Any]) -> Names:
    """Names as the configuration writes them: a list in brackets, or one text.

    Raises:
        ValueError: a bracket is opened, and no list of names follows.
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
        raise ValueError(f"{text!r} is no list of names; write it as [q_proj, v_proj]")
    return tuple(found)


def _read_list(hint: Any, tokens: Sequence[Any]) -> tuple[str, ...]:
    """One name or several, as a list."""
    found = _read_names(hint, tokens)
    return (found,) if isinstance(found, str) else found


def _require_price(_: Any, price: float | None) -> None:
    """Refuse a price below 0 or without an end."""
    if price is not None and not 0 <= price < math.inf:
        raise ValueError("Give a number of at least 0.")


Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Model = Annotated[str, Parameter(group=MODEL_AND_HARDWARE)]
Price = Annotated[
    float | None,
    Parameter(
        validator=_require_price,
        group=MODEL_AND_HARDWARE,
        help="Price of a device for an hour, in any currency.",
    ),
]
_NAMES = Parameter(n_tokens=1, metavar="NAMES", negative="", show_default=False)


@Parameter(name="*", group=MODEL_AND_HARDWARE)
@dataclass(frozen=True)
class HardwareOptions:
    """Devices, and how they share the work."""

    hardware: str = "cpu"
    "A device such as h100, rtx-4090 or cpu; of a search also any."
    devices: Whole = 1
    "How many of them."
    parallel: Annotated[
        str | None,
        one_of(ParallelName, ": how devices share the work; default: fsdp where there are several"),
    ] = None
    group: Whole = 0
    "Devices that share one copy of the model, for hybrid; 0: those of a node."
    offload: Flag = False
    "Keep sharded weights, gradients and states in the host's memory, and update them there."
    shard_embeddings: Flag = False
    "Gather embedding and output layer like layers, each when it is used."


@Parameter(name="*", group=METHOD)
@dataclass(frozen=True)
class MethodOptions:
    """What is trained, and in which numbers."""

    method: Annotated[str, one_of(METHOD_NAMES, "; of a search also any")] = "lora"
    rank: WholeOrNone = None
    "The rank of LoRA and its variants; default: as in tune."
    targets: Annotated[Names | None, _NAMES, Parameter(converter=_read_names)] = None
    "Modules to adapt, as in tune: [q_proj, v_proj], a regular expression, or all-linear."
    exclude_modules: Annotated[Names, _NAMES, Parameter(converter=_read_names)] = ()
    "Modules to leave as they are, written as targets are."
    virtual_tokens: WholeOrNone = None
    "The virtual tokens of a soft prompt; default: as in tune."
    bottleneck: WholeOrNone = None
    "The width inside adapters; default: as in tune."
    last_layers: WholeOrNone = None
    "How many layers last-layers trains; default: as in tune."
    parameters: Annotated[tuple[str, ...], _NAMES, Parameter(converter=_read_list)] = ()
    "Regular expressions of the names that selective trains, as in tune: [mlp, norm]."
    precision: Annotated[
        str | None,
        one_of(
            PrecisionName,
            "; default: the usual one of the device. With qlora, the precision "
            "beside the quantised weights",
        ),
    ] = None
    optimizer: Annotated[str, one_of(OptimizerName)] = "adamw"
    checkpointing: Annotated[
        str | None,
        one_of(Checkpointing, ": which activations are computed again; default: none"),
    ] = None


@Parameter(name="*", group=BATCH)
@dataclass(frozen=True)
class BatchOptions:
    """What a device computes at a time."""

    batch: Whole = 1
    "Sequences in a micro-batch on one device."
    seq_len: Whole = 512
    "Tokens of a sequence."
    target_length: WholeOrNone = None
    "Tokens of a decoder sequence, for encoder-decoder models; default: a quarter of --seq-len."
    loss_token_fraction: float = 1.0
    "The share of positions whose loss is counted."


@Parameter(name="*", group=TRAINING)
@dataclass(frozen=True)
class TrainingOptions:
    """How steps are made, and how many."""

    global_batch_size: WholeOrNone = None
    "Sequences of an optimizer step over all devices; default: a micro-batch on each."
    tokens: Annotated[float, Parameter(show_default=False)] = 0.0
    "Tokens of the whole training, such as 1e7; without it, time is that of a step."
    loss_chunks: Whole = 1
    "Parts in which the loss is computed, one after the other."
    update_in_backward: Flag = False
    "Update each weight as soon as it has its gradient."
    compiled: Flag = False
    "Compile each layer, which then keeps less for the backward pass."


def search_request(model: str, *options: Options | None) -> PlanRequest:
    """What a user asks; model, hardware and method may be `ANY`.

    Args:
        model: by name.
        options: data classes whose fields are those of `PlanRequest`; None: none was given.
    """
    given = [asdict(one) for one in options if one]
    fields: dict[str, Any] = {key: value for one in given for key, value in one.items()}
    return PlanRequest(model=model, **fields)


def plan_request(model: str, *options: Options | None) -> PlanRequest:
    """What a user asks of one model on one kind of device.

    Raises:
        UsageError: one of them is left to a search.
    """
    request = search_request(model, *options)
    if ANY in (request.model, request.hardware, request.method):
        raise UsageError(
            "any model, device or method is a question for a search",
            fix="ask 'luthier plan search' with the same options",
        )
    return request
