"""What the methods share that train a part of the model's own parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.core.errors import UsageError
from luthier.models.load import LoadedModel


def train_only(loaded: LoadedModel, what: str, chosen: Callable[[str], bool]) -> Any:
    """Freeze all parameters but those whose names are chosen.

    Args:
        loaded: the model.
        what: what is chosen, in words.
        chosen: from a parameter's name.

    Raises:
        UsageError: the model has none of them.
    """
    model = loaded.model
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(chosen(name))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError(
            f"{loaded.stamp.architecture} has no {what} to train",
            fix="choose another method, such as lora",
        )
    return model
