"""Tuning of the norms (Zhao et al. 2023, arXiv 2312.11420)."""

from __future__ import annotations

from typing import Any

from luthier.config.methods import LayernormConfig
from luthier.methods.base import Method
from luthier.methods.peft_support import attach, task_type
from luthier.models.kinds import frozen_pattern, is_frozen
from luthier.models.load import LoadedModel


class LayernormMethod(Method):
    """Trains the scales and shifts of all norms, which peft saves as an adapter."""

    name = "layernorm"

    def __init__(self, config: LayernormConfig) -> None:
        self.config = config

    def prepare(self, loaded: LoadedModel) -> Any:
        """See `Method.prepare`."""
        import peft

        frozen = frozen_pattern(loaded.model)
        norms = [
            name
            for name, module in loaded.model.named_modules()
            if _is_norm(type(module).__name__) and not is_frozen(name, frozen)
        ]
        settings = peft.LNTuningConfig(task_type=task_type(loaded), target_modules=norms)
        return attach(loaded, settings, "methods.layernorm")


def _is_norm(kind: str) -> bool:
    """Whether a module's class is a norm: LayerNorm, LlamaRMSNorm, T5LayerNorm and their kin."""
    return kind.endswith("Norm")
