"""Training of the norms (Zhao et al. 2023, arXiv 2312.11420)."""

from __future__ import annotations

from typing import Any

from luthier.config.methods import LayernormConfig
from luthier.core.errors import UsageError
from luthier.methods.base import Adapted, Method
from luthier.methods.gradient_reach import Reach
from luthier.methods.peft_support import attach, task_type
from luthier.methods.untrained import notes_on_mute
from luthier.models.kinds import frozen_pattern, is_frozen
from luthier.models.load import LoadedModel


class LayernormMethod(Method):
    """Trains the scales and shifts of all norms, which peft saves as an adapter."""

    name = "layernorm"

    def __init__(self, config: LayernormConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`."""
        import peft

        frozen = frozen_pattern(loaded.model)
        norms = [
            name
            for name, module in loaded.model.named_modules()
            if _is_norm(module) and not is_frozen(name, frozen)
        ]
        mute = [name for name in norms if not reach.has_module(name)]
        norms = [name for name in norms if reach.has_module(name)]
        if not norms:
            raise UsageError(
                f"{loaded.stamp.architecture} has no norms with trainable parameters",
                where="methods.layernorm",
                fix="choose another method, such as lora",
            )
        settings = peft.LNTuningConfig(task_type=task_type(loaded), target_modules=norms)
        return Adapted(attach(loaded, settings, "methods.layernorm", norms), notes_on_mute(mute))


def _is_norm(module: Any) -> bool:
    """Whether a module is a norm with a scale, such as LayerNorm, LlamaRMSNorm or T5LayerNorm.

    Llama 4's query norm has no scale.
    """
    return type(module).__name__.endswith("Norm") and getattr(module, "weight", None) is not None
