"""Training a part of the model's own parameters: those named, or those a method chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.config.methods import SelectiveConfig
from luthier.core.errors import UsageError
from luthier.methods.base import Method
from luthier.models.kinds import frozen_pattern, is_frozen
from luthier.models.load import LoadedModel
from luthier.plan.named import pick_names


class SelectiveMethod(Method):
    """Trains the parameters that have one of the given regular expressions in their names."""

    name = "selective"

    def __init__(self, config: SelectiveConfig) -> None:
        self.config = config

    def prepare(self, loaded: LoadedModel) -> Any:
        """See `Method.prepare`.

        Raises:
            UsageError: no expression is given, or the model has nothing that one of them names.
        """
        names = [name for name, _ in loaded.model.named_parameters()]
        chosen = pick_names(self.config.parameters, names)
        return train_only(loaded, "such parameters", chosen.__contains__)


def train_only(loaded: LoadedModel, what: str, chosen: Callable[[str], bool]) -> Any:
    """Freeze all parameters but those whose names are chosen.

    Of a vision-language model only the language model has any to choose from.

    Args:
        loaded: the model.
        what: what is chosen, in words.
        chosen: from a parameter's name.

    Raises:
        UsageError: the model has none of them.
    """
    model = loaded.model
    frozen = frozen_pattern(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(chosen(name) and not is_frozen(name, frozen))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError(
            f"{loaded.stamp.architecture} has no {what} to train",
            fix="choose another method, such as lora",
        )
    return model
