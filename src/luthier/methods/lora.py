"""LoRA: low-rank updates of linear layers (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

from typing import Any

from luthier.config import LoraConfig
from luthier.core.errors import UsageError
from luthier.methods.base import Method
from luthier.methods.peft_support import task_type
from luthier.models.load import LoadedModel
from luthier.models.quiet import quiet_transformers


class LoraMethod(Method):
    """Trains ``B·A·alpha/rank`` beside frozen weights.

    B starts at zero, so tuning starts from the base model's own answers.
    """

    name = "lora"

    def __init__(self, config: LoraConfig) -> None:
        self.config = config

    def prepare(self, loaded: LoadedModel) -> Any:
        """See `Method.prepare`.

        Raises:
            UsageError: no module has one of the target names.
        """
        import peft

        targets = self.config.targets
        settings = peft.LoraConfig(
            task_type=task_type(loaded),
            r=self.config.rank,
            lora_alpha=self.config.alpha,
            lora_dropout=self.config.dropout,
            target_modules=targets if isinstance(targets, str) else list(targets),
        )
        try:
            with quiet_transformers():
                return peft.get_peft_model(loaded.model, settings)
        except ValueError as error:
            raise UsageError(
                f"LoRA finds nothing to adapt: {error}",
                where="methods.lora.targets",
                fix="name linear layers of this model, or use all-linear",
            ) from None
