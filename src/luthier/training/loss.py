"""Cross-entropy at the trained positions, and logits nowhere else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from luthier.core.errors import DataError
from luthier.distributed.parallelism import Parallelism, Replicated
from luthier.models.cross_entropy import summed_cross_entropy
from luthier.models.forward import decoder_start
from luthier.prompts.training_example import TrainingExample
from luthier.training.layout import Layout, Padded, encoder_decoder_batch

# How the examples of a validation lie in its forward passes.
VALIDATION_LAYOUT = Padded(max_padding=0.2)


def padded_length(example: TrainingExample) -> int:
    """Tokens the example takes in a forward pass: those of its longer side."""
    return max(len(example.input_ids), len(example.decoder_ids))


def trained_tokens(example: TrainingExample) -> int:
    """Tokens that are predicted and counted in the loss."""
    return len(example.decoder_ids) or sum(example.trained[1:])


def loss_weight(example: TrainingExample) -> float:
    """What the example adds to that by which a summed loss is divided: its tokens, weighted."""
    return example.weight * trained_tokens(example)


def weight_unit(examples: Sequence[TrainingExample]) -> float:
    """The power of two in which the weights of a batch are counted: the greatest is 1 to 2 of them.

    Only their relation matters, and losses are summed in float32, whose range they may exceed.
    Dividing by a power of two loses no bit.
    """
    greatest = max((example.weight for example in examples), default=0.0)
    return 2.0 ** (math.frexp(greatest)[1] - 1) if greatest else 1.0


def require_trained_tokens(examples: Sequence[TrainingExample]) -> None:
    """Refuse examples of which nothing can be learned.

    Raises:
        DataError: not one token of them is predicted.
    """
    if not any(map(trained_tokens, examples)):
        raise DataError(
            "no token of the training examples is trained on",
            fix="see what is trained with 'luthier data show'",
        )


def summed_loss(
    model: Any,
    examples: Sequence[TrainingExample],
    device: torch.device,
    layout: Layout = VALIDATION_LAYOUT,
    factor: float = 1.0,
) -> Tensor:
    """Nats summed over the trained tokens of ``examples``, in one forward pass; a scalar.

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
    weights = _token_weights(examples, factor)
    weights_K = None if weights is None else weights.to(device)
    return summed_cross_entropy(model, options, rows_K, columns_K, targets_K, weights_K)


def _token_weights(examples: Sequence[TrainingExample], factor: float) -> Tensor | None:
    """A number for each trained token of ``examples``, in their order; None: all of them are 1."""
    if all(example.weight * factor == 1 for example in examples):
        return None
    return torch.tensor(
        [example.weight * factor for example in examples for _ in range(trained_tokens(example))],
        dtype=torch.float32,
    )


@torch.no_grad()
def mean_loss(
    model: Any,
    examples: Sequence[TrainingExample],
    device: torch.device,
    batch_tokens: int,
    parallelism: Parallelism | None = None,
) -> float:
    """Nats per trained token over ``examples``; the model is left in evaluation mode.

    Tokens are weighted as in training: what is minimised is also what is watched.
    """
    model.eval()
    parallelism = parallelism or Replicated()
    unit = weight_unit(examples)
    lengths = [padded_length(example) for example in examples]
    cuts = VALIDATION_LAYOUT.cut(lengths, batch_tokens)
    total = torch.zeros((), dtype=torch.float64)
    for share in parallelism.shares(cuts, lengths):
        part = [examples[i] for i in share.indices]
        loss = summed_loss(model, part, device, factor=1 / unit)
        total += loss.double().cpu() * share.counts
    nats = float(parallelism.processes.sum(total))
    return nats / sum(loss_weight(example) / unit for example in examples)
