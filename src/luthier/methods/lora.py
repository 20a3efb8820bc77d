"""LoRA: low-rank updates of linear layers (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

from typing import Any, ClassVar

from luthier.config import LoraConfig
from luthier.config.methods import MethodName
from luthier.core.errors import UsageError
from luthier.methods.base import Method
from luthier.methods.lora_adapter import require_same, train_further
from luthier.methods.new_tokens import saved_modules, token_rows
from luthier.methods.peft_support import attach, targets_of, task_type
from luthier.methods.targets import names_of_experts
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
    # Whether it adapts experts that lie in one stack.
    adapts_experts: ClassVar[bool] = True

    def __init__(self, config: LoraConfig) -> None:
        self.config = config

    def prepare(self, loaded: LoadedModel) -> Any:
        """See `Method.prepare`.

        Raises:
            UsageError: a target, an exclusion or a token is not there, or cannot be trained.
        """
        if loaded.adapter is not None:
            return train_further(loaded.model)
        import peft

        where = f"methods.{self.name}"
        experts = names_of_experts(loaded.model)
        targets = targets_of(loaded, self.config, where, embeddings=True, experts=experts)
        if targets.of_experts and not self.adapts_experts:
            ends = dict.fromkeys(name.rpartition(".")[2] for name in targets.names)
            others = ",".join(end for end in ends if end not in experts)
            raise UsageError(
                f"{self.name} cannot adapt experts that lie in one stack, as those of "
                f"{loaded.stamp.architecture} do, nor their router",
                where=f"{where}.targets",
                fix=f"name other modules, {where}.targets=[{others}]" if others else "choose lora",
            )
        settings = peft.LoraConfig(
            task_type=task_type(loaded),
            r=self.config.rank,
            lora_alpha=self.config.alpha,
            lora_dropout=self.config.dropout,
            target_modules=targets.target_modules,
            exclude_modules=targets.exclude_modules,
            **saved_modules(loaded, self.config, where),
            trainable_token_indices=token_rows(loaded, self.config.trainable_tokens, where),
            **self.variant,
        )
        return attach(loaded, settings, where)

    def require_base(self, adapter: AdapterFolder | None) -> None:
        """See `Method.require_base`: a LoRA adapter of the same kind is trained further."""
        if adapter is not None:
            require_same(self.name, self.config, adapter)
