"""Supervised fine-tuning: cross-entropy at the trained positions, without other logits."""

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
    """Cross-entropy in nats per trained token, weighted by example."""

    unit: ClassVar[str] = "token"

    def sequences(self, examples: Sequence[TrainingExample]) -> Sequence[TrainingExample]:
        """One sequence per example."""
        return examples

    def length(self, example: TrainingExample) -> int:
        """The length of the example, or of the longer of encoder and decoder sequence."""
        return max(len(example.input_ids), len(example.decoder_ids))

    def trained_tokens(self, example: TrainingExample) -> int:
        """Number of trained tokens, those of the answers."""
        return len(example.decoder_ids) or sum(example.trained[1:])

    def loss_weight(self, example: TrainingExample) -> float:
        """Number of trained tokens times the example's weight."""
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

        Logits are cast to float32 before the softmax, as in transformers, and never all exist at
        once. Models with an encoder always use padded rows.
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
        """The weight of each trained token of ``examples``, in order; None: all are 1."""
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
