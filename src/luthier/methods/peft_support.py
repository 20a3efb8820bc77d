"""What the methods that peft implements share."""

from __future__ import annotations

from typing import Any

import torch

from luthier.core.errors import UsageError
from luthier.models.kinds import excluding, frozen_pattern, is_frozen
from luthier.models.load import LoadedModel
from luthier.models.quiet import quiet_transformers
from luthier.plan.tunings import ends_with


def task_type(loaded: LoadedModel) -> str:
    """Peft's name for the kind of model."""
    return "SEQ_2_SEQ_LM" if loaded.is_encoder_decoder else "CAUSAL_LM"


def attach(loaded: LoadedModel, settings: Any, where: str = "") -> Any:
    """The model with peft's adapter around it.

    Args:
        loaded: the model; it is changed.
        settings: a configuration of peft's.
        where: the setting that names what is adapted.

    Raises:
        UsageError: peft finds nothing in this model that the settings name.
    """
    import peft

    # Of a vision-language model only the language model is adapted.
    if (frozen := frozen_pattern(loaded.model)) and hasattr(settings, "target_modules"):
        _leave_out(loaded.model, settings, frozen)
    try:
        with quiet_transformers():
            return peft.get_peft_model(loaded.model, settings)
    except ValueError as error:
        raise UsageError(
            f"{settings.peft_type.value} finds nothing to adapt: {error}",
            where=where,
            fix="name linear layers of this model, or use all-linear" if where else "choose lora",
        ) from None


def _leave_out(model: Any, settings: Any, frozen: str) -> None:
    """Have peft leave modules as they are, whichever it is to adapt.

    Args:
        model: a transformers model.
        settings: a configuration of peft's that names modules; it is changed.
        frozen: as `luthier.models.kinds.frozen_pattern` gives it.
    """
    if hasattr(settings, "exclude_modules"):
        settings.exclude_modules = excluding(frozen, settings.exclude_modules)
        return
    # VeRA knows no exclusion, so it is given whole names.
    targets, output = settings.target_modules, model.get_output_embeddings()
    settings.target_modules = {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module is not output
        and (targets == "all-linear" or ends_with(name, tuple(targets)))
        and not is_frozen(name, frozen)
    }
