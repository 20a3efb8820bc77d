"""Training of the model's own parameters, selected by name or by a method."""

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
    """Trains the parameters whose names match one of the regular expressions."""

    name = "selective"

    def __init__(self, config: SelectiveConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`.

        Raises:
            UsageError: no expression is given, or one matches nothing in the model.
        """
        names = [name for name, _ in loaded.model.named_parameters()]
        chosen = pick_names(self.config.parameters, names)
        return train_only(loaded, reach, "such parameters", chosen.__contains__)


def train_only(
    loaded: LoadedModel, reach: Reach, what: str, chosen: Callable[[str], bool]
) -> Adapted:
    """The model with all parameters frozen except the chosen ones.

    In a vision-language model only those of the language model can be chosen. Parameters without
    influence on the output are frozen too.

    Args:
        loaded: the model.
        reach: the reach of the model.
        what: the chosen parameters in words, for the error.
        chosen: decides by a parameter's name.

    Raises:
        UsageError: the model has no such parameters.
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
