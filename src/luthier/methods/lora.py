"""LoRA: low-rank updates of linear layers (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from luthier.config import LoraConfig
from luthier.core.errors import UsageError
from luthier.core.method_facts import MethodName
from luthier.methods.base import Adapted, Method
from luthier.methods.expert_stacks import patterns
from luthier.methods.gradient_reach import Reach
from luthier.methods.lora_adapter import require_same, train_further
from luthier.methods.new_tokens import saved_modules, token_rows
from luthier.methods.peft_support import attach, targets_of, task_type
from luthier.methods.targets import Parameters
from luthier.models.adapter_folder import AdapterFolder
from luthier.models.load import LoadedModel
from luthier.models.quantised import is_quantised


class LoraMethod(Method):
    """Trains ``B·A·alpha/rank`` on frozen weights.

    B starts at zero, so tuning starts from the base model's outputs. A model that already is a LoRA
    adapter is trained further, and stays one adapter of the same shape.
    """

    name: ClassVar[MethodName] = "lora"
    # Additional peft settings of a variant.
    variant: ClassVar[dict[str, Any]] = {}
    parameters: ClassVar[Parameters] = Parameters(converts=True, stacks=True, weights=True)

    def __init__(self, config: LoraConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`.

        Raises:
            UsageError: a target, an exclusion or a token does not exist, or cannot be trained.
        """
        if loaded.adapter is not None:
            return Adapted(train_further(loaded.model))
        import peft

        where = f"methods.{self.name}"
        options: dict[str, Any] = {"embeddings": True, "parameters": self._adaptable(loaded)}
        targets = targets_of(loaded, self.config, where, reach, **options)
        if targets.parameters and self.config.dropout:
            raise UsageError(
                f"{targets.parameters[0]} is adapted as a parameter, for which peft has no dropout",
                where=f"{where}.dropout",
                fix=f"set {where}.dropout=0, or exclude it with {where}.exclude_modules=[…]",
            )
        settings = peft.LoraConfig(
            task_type=task_type(loaded),
            r=self.config.rank,
            lora_alpha=self.config.alpha,
            lora_dropout=self.config.dropout,
            target_modules=list(targets.modules),
            target_parameters=targets.parameters,
            exclude_modules=list(targets.not_adapted) or None,
            rank_pattern=patterns(targets.stacks, self.config.rank),
            alpha_pattern=patterns(targets.stacks, self.config.alpha),
            **saved_modules(loaded, self.config, where),
            trainable_token_indices=token_rows(loaded, self.config.trainable_tokens, where),
            **self.variant,
        )
        return Adapted(attach(loaded, settings, where, targets.names), targets.notes)

    def _adaptable(self, loaded: LoadedModel) -> Parameters:
        """Parameters that can be adapted in this model, which excludes quantised weights."""
        if is_quantised(loaded.model):
            return replace(self.parameters, weights=False)
        return self.parameters

    def require_base(self, adapter: AdapterFolder | None) -> None:
        """See `Method.require_base`: a LoRA adapter of the same kind is trained further."""
        if adapter is not None:
            require_same(self.name, self.config, adapter)
