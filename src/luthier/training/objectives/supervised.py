"""Supervised fine-tuning: cross-entropy at the trained positions, and logits nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from luthier.models.cross_entropy import summed_cross_entropy
from luthier.models.forward import decoder_start
from luthier.prompts.training_example import TrainingExample
from luthier.training.layout import VALIDATION_LAYOUT, Layout, encoder_decoder_batch
from luthier.training.objectives.base import Objective


@dataclass(frozen=True, slots=True)
class Supervised(Objective[TrainingExample]):
    """Nats per trained token, weighted by example."""

    unit: ClassVar[str] = "token"

    def sequences(self, examples: Sequence[TrainingExample]) -> Sequence[TrainingExample]:
        """One for each example."""
        return examples

    def length(self, example: TrainingExample) -> int:
        """Tokens of its longer side."""
        return max(len(example.input_ids), len(example.decoder_ids))

    def trained_tokens(self, example: TrainingExample) -> int:
        """Tokens of the answers."""
        return len(example.decoder_ids) or sum(example.trained[1:])

    def loss_weight(self, example: TrainingExample) -> float:
        """Its trained tokens, weighted."""
        return example.weight * self.trained_tokens(example)

    def summed_loss(
        self,
        model: Any,
        examples: Sequence[TrainingExample],
        device: torch.device,
        layout: Layout = VALIDATION_LAYOUT,
        factor: float = 1.0,
    ) -> Tensor:
        """Nats summed over the trained tokens; see `Objective.summed_loss`.

        Each token's nats are multiplied by its example's weight, and by ``factor``.

        The logits are cast to float32 before the softmax, as transformers does, and never exist all
        at once. Of a model with an encoder the rows are always padded.
        """
        if model.config.is_encoder_decoder:
            batch = encoder_decoder_batch(examples, decoder_start(model))
        else:
            batch = layout.batch(examples)
        inputs = {name: values.to(device) for name, values in batch.inputs.items()}
        rows_K, columns_K, targets_K = (
            tensor.to(device) for tensor in (batch.rows_K, batch.columns_K, batch.targets_K)
        )
        options = inputs | {"use_cache": False}
        weights = self._token_weights(examples, factor)
        weights_K = None if weights is None else weights.to(device)
        return summed_cross_entropy(model, options, rows_K, columns_K, targets_K, weights_K)

    def _token_weights(self, examples: Sequence[TrainingExample], factor: float) -> Tensor | None:
        """A number for each trained token of ``examples``, in their order; None: all are 1."""
        if all(example.weight * factor == 1 for example in examples):
            return None
        return torch.tensor(
            [
                example.weight * factor
                for example in examples
                for _ in range(self.trained_tokens(example))
            ],
            dtype=torch.float32,
        )
