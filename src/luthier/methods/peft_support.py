"""What the methods that peft implements share."""

from __future__ import annotations

import difflib
from typing import Any

from luthier.config.methods import ModulesConfig
from luthier.core.errors import UsageError
from luthier.methods.targets import Targets, find_targets
from luthier.models.load import LoadedModel
from luthier.models.quiet import quiet_transformers
from luthier.plan.targets import Selection, ends_with

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


def modules_to_save(loaded: LoadedModel, names: tuple[str, ...], where: str) -> list[str] | None:
    """For peft: the modules that are trained whole; None: there are none.

    Raises:
        UsageError: a name matches no module, or one without parameters.
    """
    for name in names:
        found = [one for key, one in loaded.model.named_modules() if ends_with(key, (name,))]
        if not any(True for module in found for _ in module.parameters()):
            known = {key.rpartition(".")[2] for key, _ in loaded.model.named_modules()}
            close = difflib.get_close_matches(name, sorted(known - {""}), n=2)
            fix = f"did you mean {' or '.join(close)}?" if close else "name embed_tokens or lm_head"
            raise UsageError(
                f"{loaded.stamp.architecture} has no module {name!r} to train and save",
                where=f"{where}.modules_to_save",
                fix=fix,
            )
    return list(names) or None


def targets_of(loaded: LoadedModel, config: ModulesConfig, where: str, **options: Any) -> Targets:
    """`find_targets` with a method's own settings."""
    selection = Selection(config.targets, config.exclude_modules)
    return find_targets(loaded.model, selection, where, **options)
