"""What the methods that peft implements share."""

from __future__ import annotations

from typing import Any

from luthier.core.errors import UsageError
from luthier.models.load import LoadedModel
from luthier.models.quiet import quiet_transformers


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

    try:
        with quiet_transformers():
            return peft.get_peft_model(loaded.model, settings)
    except ValueError as error:
        raise UsageError(
            f"{settings.peft_type.value} finds nothing to adapt: {error}",
            where=where,
            fix="name linear layers of this model, or use all-linear" if where else "choose lora",
        ) from None
