"""What the methods that peft implements share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from luthier.config.methods import ModulesConfig
from luthier.core.errors import UsageError
from luthier.core.parameter_names import alike_once
from luthier.core.targets import Selection
from luthier.methods.gradient_reach import Reach
from luthier.methods.targets import Targets, find_targets
from luthier.methods.untrained import LISTED
from luthier.models.load import LoadedModel
from luthier.models.quiet_transformers import quiet_transformers

_REASON = 300  # characters


def task_type(loaded: LoadedModel) -> str:
    """Peft's name for the kind of model."""
    return "SEQ_2_SEQ_LM" if loaded.is_encoder_decoder else "CAUSAL_LM"


def attach(
    loaded: LoadedModel, settings: Any, where: str, planned: Collection[str] | None = None
) -> Any:
    """The model with peft's adapter around it.

    Args:
        loaded: the model; it is changed.
        settings: a configuration of peft's.
        where: the settings of the method, as ``methods.lora``.
        planned: the modules that get something, by whole names; None: it is no method of modules.

    Raises:
        UsageError: peft cannot adapt this model so, or adapts other modules.
    """
    import peft

    try:
        with quiet_transformers():
            model = peft.get_peft_model(loaded.model, settings)
    except (ValueError, TypeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:_REASON]
        raise UsageError(
            f"peft cannot adapt {loaded.stamp.architecture} so: {reason}",
            where=where,
            fix="name other modules, or choose another method",
        ) from None
    if planned is not None:
        _require_exactly(set(planned), _adapted(model), where)
    return model


def _adapted(model: Any) -> set[str]:
    """The modules of a peft model that have something, by the names that they had before."""
    from peft.tuners.trainable_tokens import TrainableTokensLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {
        name.replace(".base_layer", "")
        for name, module in model.get_base_model().named_modules()
        if isinstance(module, BaseTunerLayer) and not isinstance(module, TrainableTokensLayer)
    }


def _require_exactly(planned: set[str], adapted: set[str], where: str) -> None:
    """Check that peft adapted the modules that were meant.

    Raises:
        UsageError: it left some out, or took others.
    """
    if planned == adapted:
        return
    missing, more = sorted(planned - adapted), sorted(adapted - planned)
    raise UsageError(
        "peft adapted other modules than were meant"
        + (f"; it left out {alike_once(missing, LISTED)}" if missing else "")
        + (f"; it took {alike_once(more, LISTED)} besides" if more else ""),
        where=f"{where}.targets",
        fix="name the modules one by one, or choose another method",
    )


def targets_of(
    loaded: LoadedModel, config: ModulesConfig, where: str, reach: Reach, **options: Any
) -> Targets:
    """`find_targets` with a method's own settings."""
    selection = Selection(
        config.targets,
        config.exclude_modules,
        config.layers_to_transform,
        config.modules_to_save,
    )
    return find_targets(loaded.model, selection, where, reach, **options)
