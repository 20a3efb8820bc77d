"""Training of the last layers: those below stay frozen and need no backward pass."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from luthier.config.methods import LastLayersConfig
from luthier.core.errors import UsageError
from luthier.core.units import counted
from luthier.methods.base import Adapted, Method
from luthier.methods.frozen_prefix import FrozenPrefix
from luthier.methods.gradient_reach import Reach
from luthier.methods.selective import train_only
from luthier.models.kinds import frozen_pattern, is_frozen
from luthier.models.load import LoadedModel

_NUMBER = re.compile(r"\.(\d+)\.")


class LastLayersMethod(Method):
    """Trains the last layers and the parameters after them, except the output layer.

    In an encoder-decoder model they are the decoder's.
    """

    name = "last-layers"

    def __init__(self, config: LastLayersConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`.

        Raises:
            UsageError: the model has fewer layers.
        """
        model = loaded.model
        outside = {id(table.weight) for table in _tables(model)}
        frozen = frozen_pattern(model)
        numbers = {
            name: _layer(name)
            for name, parameter in model.named_parameters()
            if id(parameter) not in outside
            and not (loaded.is_encoder_decoder and "encoder" in name.split("."))
            and not is_frozen(name, frozen)
        }
        count = 1 + max((one for one in numbers.values() if one is not None), default=-1)
        if self.config.layers > count:
            raise UsageError(
                f"{loaded.stamp.id} has {counted(count, 'layer')}, not {self.config.layers}",
                where="methods.last-layers.layers",
                fix=f"use at most {count}",
            )
        after = _last_number_then_none(numbers)
        first = count - self.config.layers
        chosen = {
            name
            for name, number in numbers.items()
            if (number is not None and number >= first) or name in after
        }
        return train_only(loaded, reach, "layers", chosen.__contains__)

    def while_training(self, model: Any, *, repeats: bool) -> AbstractContextManager[None]:
        """See `Method.while_training`: if examples recur, the layers below are cached."""
        layers = _frozen_layers(model)
        if not (self.config.cache and layers and repeats):
            return nullcontext()
        return FrozenPrefix(model, layers).in_place()


def _tables(model: Any) -> tuple[Any, ...]:
    """The input and output embeddings."""
    return model.get_input_embeddings(), model.get_output_embeddings()


def _layer(name: str) -> int | None:
    """The layer number of a parameter."""
    found = _NUMBER.search(name)
    return int(found.group(1)) if found else None


def _frozen_layers(model: Any) -> list[Any]:
    """The layers below the first trained one; empty for an encoder-decoder model.

    A decoder's layers also depend on the encoder's output, which is another sequence.
    """
    if model.config.is_encoder_decoder:
        return []
    trained = (name for name, parameter in model.named_parameters() if parameter.requires_grad)
    first = next(found for found in map(_NUMBER.search, trained) if found)
    return list(model.get_submodule(first.string[: first.start()]))[: int(first.group(1))]


def _last_number_then_none(numbers: dict[str, int | None]) -> set[str]:
    """Parameters after all layers: those without a layer number after the last one with one."""
    names = list(numbers)
    last = max(index for index, name in enumerate(names) if numbers[name] is not None)
    return set(names[last + 1 :])
