"""Training a part of the model's own parameters: those named, or those a method chooses."""

from __future__ import annotations

from collections.abc import Callable

from luthier.config.methods import SelectiveConfig
from luthier.core.errors import UsageError
from luthier.core.parameter_names import pick_names
from luthier.methods.base import Adapted, Method
from luthier.methods.gradient_reach import Reach
from luthier.methods.untrained import notes_on_mute
from luthier.models.kinds import frozen_pattern, is_frozen
from luthier.models.load import LoadedModel


class SelectiveMethod(Method):
    """Trains the parameters that have one of the given regular expressions in their names."""

    name = "selective"

    def __init__(self, config: SelectiveConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`.

        Raises:
            UsageError: no expression is given, or the model has nothing that one of them names.
        """
        names = [name for name, _ in loaded.model.named_parameters()]
        chosen = pick_names(self.config.parameters, names)
        return train_only(loaded, reach, "such parameters", chosen.__contains__)


def train_only(
    loaded: LoadedModel, reach: Reach, what: str, chosen: Callable[[str], bool]
) -> Adapted:
    """Freeze all parameters but those whose names are chosen.

    Of a vision-language model only the language model has any to choose from. Those that the
    model's output does not depend on are frozen too.

    Args:
        loaded: the model.
        reach: of the model.
        what: what is chosen, in words.
        chosen: from a parameter's name.

    Raises:
        UsageError: the model has none of them.
    """
    model = loaded.model
    frozen = frozen_pattern(model)
    mute = []
    for name, parameter in model.named_parameters():
        is_chosen = chosen(name) and not is_frozen(name, frozen)
        can_learn = reach.has_parameter(name)
        parameter.requires_grad_(is_chosen and can_learn)
        if is_chosen and not can_learn:
            mute.append(name)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError(
            f"{loaded.stamp.architecture} has no {what} to train"
            + (" that its output depends on" if mute else ""),
            fix="choose another method, such as lora",
        )
    return Adapted(model, notes_on_mute(mute))
