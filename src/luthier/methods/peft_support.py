"""Shared code of the methods that peft implements."""

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
    """Peft's task type for the kind of model."""
    return "SEQ_2_SEQ_LM" if loaded.is_encoder_decoder else "CAUSAL_LM"


def attach(
    loaded: LoadedModel, settings: Any, where: str, planned: Collection[str] | None = None
) -> Any:
    """The peft model around a model.

    Args:
        loaded: the model; it is modified.
        settings: a peft configuration.
        where: the settings of the method, as ``methods.lora``.
        planned: full names of the modules to adapt; None: the method has no target modules.

    Raises:
        UsageError: peft cannot adapt this model, or adapts other modules.
    """
    import peft

    try:
        with quiet_transformers():
            model = peft.get_peft_model(loaded.model, settings)
    except (ValueError, TypeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:_REASON]
        raise UsageError(
            f"peft cannot adapt {loaded.stamp.architecture}: {reason}",
            where=where,
            fix="name other modules, or choose another method",
        ) from None
    if planned is not None:
        _require_exactly(set(planned), _adapted(model), where)
    return model


def _adapted(model: Any) -> set[str]:
    """The adapted modules of a peft model, by their original names."""
    from peft.tuners.trainable_tokens import TrainableTokensLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {
        name.replace(".base_layer", "")
        for name, module in model.get_base_model().named_modules()
        if isinstance(module, BaseTunerLayer) and not isinstance(module, TrainableTokensLayer)
    }


def _require_exactly(planned: set[str], adapted: set[str], where: str) -> None:
    """Check that peft adapted the intended modules.

    Raises:
        UsageError: it missed some, or adapted others.
    """
    if planned == adapted:
        return
    missing, more = sorted(planned - adapted), sorted(adapted - planned)
    raise UsageError(
        "peft did not adapt the intended modules"
        + (f"; it missed {alike_once(missing, LISTED)}" if missing else "")
        + (f"; it also adapted {alike_once(more, LISTED)}" if more else ""),
        where=f"{where}.targets",
        fix="name the modules one by one, or choose another method",
    )


def targets_of(
    loaded: LoadedModel, config: ModulesConfig, where: str, reach: Reach, **options: Any
) -> Targets:
    """The targets of a method's own settings; see `find_targets`."""
    selection = Selection(
        config.targets,
        config.exclude_modules,
        config.layers_to_transform,
        config.modules_to_save,
    )
    return find_targets(loaded.model, selection, where, reach, **options)
