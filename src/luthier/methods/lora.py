"""LoRA: low-rank updates of linear layers (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

from typing import Any, ClassVar

from luthier.config import LoraConfig
from luthier.config.methods import MethodName
from luthier.methods.base import Method
from luthier.methods.lora_adapter import require_same, train_further
from luthier.methods.peft_support import attach, task_type
from luthier.models.adapter_folder import AdapterFolder
from luthier.models.load import LoadedModel


class LoraMethod(Method):
    """Trains ``B·A·alpha/rank`` beside frozen weights.

    B starts at zero, so tuning starts from the base model's own answers. A model that is a LoRA
    adapter already is trained further: there is one adapter afterwards, of the same shape.
    """

    name: ClassVar[MethodName] = "lora"
    # What a variant asks of peft besides.
    variant: ClassVar[dict[str, Any]] = {}

    def __init__(self, config: LoraConfig) -> None:
        self.config = config

    def prepare(self, loaded: LoadedModel) -> Any:
        """See `Method.prepare`.

        Raises:
            UsageError: no module has one of the target names.
        """
        if loaded.adapter is not None:
            return train_further(loaded.model)
        import peft

        targets = self.config.targets
        settings = peft.LoraConfig(
            task_type=task_type(loaded),
            r=self.config.rank,
            lora_alpha=self.config.alpha,
            lora_dropout=self.config.dropout,
            target_modules=targets if isinstance(targets, str) else list(targets),
            **self.variant,
        )
        return attach(loaded, settings, f"methods.{self.name}.targets")

    def require_base(self, adapter: AdapterFolder | None) -> None:
        """See `Method.require_base`: a LoRA adapter of the same kind is trained further."""
        if adapter is not None:
            require_same(self.name, self.config, adapter)
