"""AdaLoRA: rank allocated during training (Zhang et al. 2023, arXiv 2303.10512)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from luthier.config.methods import AdaloraConfig
from luthier.core.method_facts import MethodName
from luthier.methods.base import Adapted, Method
from luthier.methods.gradient_reach import Reach
from luthier.methods.hooks import MethodHooks
from luthier.methods.new_tokens import saved_modules, token_rows
from luthier.methods.peft_support import attach, targets_of, task_type
from luthier.models.load import LoadedModel

_ADAPTER = "default"
_LEAST_STEPS = 3  # one to measure importance, one to prune, one to settle


class AdaloraMethod(Method):
    """Trains ``P·diag(E)·Q`` on frozen weights, and prunes the least important directions.

    E starts at zero. With fewer than three steps nothing is pruned.
    """

    name: ClassVar[MethodName] = "adalora"

    def __init__(self, config: AdaloraConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`.

        Raises:
            UsageError: a target, an exclusion or a token does not exist, or cannot be trained.
        """
        import peft

        config, where = self.config, "methods.adalora"
        targets = targets_of(loaded, config, where, reach)
        settings = peft.AdaLoraConfig(
            task_type=task_type(loaded),
            init_r=config.rank,
            target_r=config.final_rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=list(targets.modules),
            exclude_modules=list(targets.not_adapted) or None,
            **saved_modules(loaded, config, where),
            trainable_token_indices=token_rows(loaded, config.trainable_tokens, where),
            deltaT=config.prune_every,
            total_step=1,  # set when the training starts
        )
        return Adapted(attach(loaded, settings, where, targets.names), targets.notes)

    def hooks(self, model: Any, total_steps: int) -> MethodHooks:
        """See `Method.hooks`: importance is updated and directions pruned after each step."""
        if total_steps < _LEAST_STEPS:
            return MethodHooks()
        settings = model.peft_config[_ADAPTER]
        settings.total_step = total_steps
        settings.tinit = int(self.config.start * total_steps)
        settings.tfinal = max(1, int(self.config.tfinal_fraction * total_steps))
        return _Pruning(model, self.config.orth_reg_weight)


class _Pruning(MethodHooks):
    """The paper's algorithm 1, as in peft's rank allocator."""

    def __init__(self, model: Any, orth_reg_weight: float) -> None:
        self._model = model
        self._orthogonality = orth_reg_weight
        self._allocator = model.base_model.rankallocator

    def penalty(self) -> Tensor | None:
        """The mean distance of ``PᵀP`` and ``QQᵀ`` from one, eq. 4 (peft takes its root)."""
        distances = []
        for name, weight in self._parameters("lora_A", "lora_B"):
            product = weight @ weight.T if "lora_A" in name else weight.T @ weight
            one = torch.eye(len(product), device=product.device, dtype=product.dtype)
            distances.append(torch.linalg.norm(product - one))
        return self._orthogonality * torch.stack(distances).mean()

    def after_update(self, step: int) -> None:
        """See `MethodHooks.after_update`."""
        self._model.base_model.update_and_allocate(step)

    def tensors(self) -> dict[str, Tensor]:
        """Smoothed importance and uncertainty, and the remaining directions."""
        allocator = self._allocator
        kept = {f"importance/{name}": value for name, value in allocator.exp_avg_ipt.items()}
        kept |= {f"uncertainty/{name}": value for name, value in allocator.exp_avg_unc.items()}
        pattern = self._settings.rank_pattern or {}
        return kept | {f"left/{name}": torch.tensor(left) for name, left in pattern.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """See `MethodHooks.load`."""
        allocator = self._allocator
        allocator.reset_ipt()
        pattern: dict[str, list[bool]] = {}
        for key, value in tensors.items():
            what, _, name = key.partition("/")
            if what == "left":
                pattern[name] = value.tolist()
                continue
            # Momentary importance is recomputed in each step; only its presence is recorded.
            allocator.ipt[name] = torch.zeros_like(value)
            held = allocator.exp_avg_ipt if what == "importance" else allocator.exp_avg_unc
            held[name] = value.to(self._device)
        self._settings.rank_pattern = pattern or None

    def finish(self) -> None:
        """Set the rank pattern from the weights, which may be of an earlier step."""
        self._settings.rank_pattern = {
            name: (weight != 0).view(-1).tolist() for name, weight in self._parameters("lora_E")
        }

    @property
    def _settings(self) -> Any:
        return self._model.peft_config[_ADAPTER]

    @property
    def _device(self) -> torch.device:
        return next(weight.device for _, weight in self._parameters("lora_E"))

    def _parameters(self, *kinds: str) -> list[tuple[str, Tensor]]:
        """The factors of some kinds, by the allocator's names."""
        return [
            (name, weight)
            for name, weight in self._model.base_model.model.named_parameters()
            if any(f"{kind}.{_ADAPTER}" in name for kind in kinds)
        ]
