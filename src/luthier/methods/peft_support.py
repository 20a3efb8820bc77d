"""What the methods that peft implements share."""

from __future__ import annotations

from typing import Any

from luthier.config.methods import ModulesConfig
from luthier.core.errors import UsageError
from luthier.methods.targets import Targets, find_targets
from luthier.models.load import LoadedModel
from luthier.models.quiet import quiet_transformers
from luthier.plan.targets import Selection

_REASON = 300  # characters


def task_type(loaded: LoadedModel) -> str:
    """Peft's name for the kind of model."""
    return "SEQ_2_SEQ_LM" if loaded.is_encoder_decoder else "CAUSAL_LM"


def attach(loaded: LoadedModel, settings: Any, where: str) -> Any:
    """The model with peft's adapter around it.

    Args:
        loaded: the model; it is changed.
        settings: a configuration of peft's.
        where: the settings of the method, as ``methods.lora``.

    Raises:
        UsageError: peft cannot adapt this model so.
    """
    import peft

    try:
        with quiet_transformers():
            return peft.get_peft_model(loaded.model, settings)
    except (ValueError, TypeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:_REASON]
        raise UsageError(
            f"peft cannot adapt {loaded.stamp.architecture} so: {reason}",
            where=where,
            fix="name other modules, or choose another method",
        ) from None


def targets_of(loaded: LoadedModel, config: ModulesConfig, where: str, **options: Any) -> Targets:
    """`find_targets` with a method's own settings."""
    selection = Selection(config.targets, config.exclude_modules)
    return find_targets(loaded.model, selection, where, **options)
