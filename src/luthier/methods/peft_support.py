"""What the methods that peft implements share."""

from __future__ import annotations

from typing import Any

from luthier.config.methods import ModulesConfig
from luthier.core.errors import UsageError
from luthier.methods.targets import Targets, find_targets
from luthier.models.device import is_out_of_memory
from luthier.models.forward import without_cache
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
        raise UsageError(
            f"peft cannot adapt {loaded.stamp.architecture} so: {_short(error)}",
            where=where,
            fix="name other modules, or choose another method",
        ) from None


def attach_prompt(loaded: LoadedModel, settings: Any, where: str) -> Any:
    """The model with peft's soft prompt before its input.

    The arguments are those of `attach`.

    Raises:
        UsageError: peft cannot adapt this model so, or the model cannot be given vectors.
    """
    model = attach(loaded, settings, where)
    if loaded.device.type != "meta":
        _require_read(model, loaded, where)
    return model


def _require_read(model: Any, loaded: LoadedModel, where: str) -> None:
    """Give the model a text after its soft prompt; some models need the tokens of all vectors."""
    import torch

    ids_1T = torch.zeros(1, 2, dtype=torch.long, device=loaded.device)
    inputs = without_cache(model)
    if loaded.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids_1T
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(input_ids=ids_1T, **inputs)
    except (RuntimeError, ValueError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        raise UsageError(
            f"{loaded.stamp.architecture} cannot be given a soft prompt: {_short(error)}",
            where=where,
            fix="choose another method",
        ) from None
    model.train(was_training)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:_REASON]


def targets_of(loaded: LoadedModel, config: ModulesConfig, where: str, **options: Any) -> Targets:
    """`find_targets` with a method's own settings."""
    selection = Selection(config.targets, config.exclude_modules)
    return find_targets(loaded.model, selection, where, **options)
