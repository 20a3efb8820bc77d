"""Cross-entropy at the trained positions, and logits nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from luthier.core.errors import DataError
from luthier.data.batches import micro_batches
from luthier.distributed.parallelism import Parallelism, Replicated
from luthier.models.cross_entropy import summed_cross_entropy
from luthier.models.forward import decoder_start
from luthier.prompts.render import TrainingExample

# The share of padding that a forward pass of a validation may have.
VALIDATION_PADDING = 0.2


def padded_length(example: TrainingExample) -> int:
    """Tokens the example takes in a forward pass: those of its longer side."""
    return max(len(example.input_ids), len(example.decoder_ids))


def trained_tokens(example: TrainingExample) -> int:
    """Tokens that are predicted and counted in the loss."""
    return len(example.decoder_ids) or sum(example.trained[1:])


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


def summed_loss(model: Any, examples: Sequence[TrainingExample], device: torch.device) -> Tensor:
    """Nats summed over the trained tokens of ``examples``, in one forward pass; a scalar.

    The logits are cast to float32 before the softmax, as transformers does, and never exist all
    at once.
    """
    start = decoder_start(model) if model.config.is_encoder_decoder else None
    batch = _causal_batch(examples) if start is None else _encoder_decoder_batch(examples, start)
    inputs = {name: values.to(device) for name, values in batch.inputs.items()}
    rows_K, columns_K, targets_K = (
        tensor.to(device) for tensor in (batch.rows_K, batch.columns_K, batch.targets_K)
    )
    options = inputs | {"use_cache": False}
    return summed_cross_entropy(model, options, rows_K, columns_K, targets_K)


@torch.no_grad()
def mean_loss(
    model: Any,
    examples: Sequence[TrainingExample],
    device: torch.device,
    batch_tokens: int,
    parallelism: Parallelism | None = None,
) -> float:
    """Nats per trained token over ``examples``; the model is left in evaluation mode."""
    model.eval()
    parallelism = parallelism or Replicated()
    lengths = [padded_length(example) for example in examples]
    cuts = micro_batches(lengths, tokens=batch_tokens, max_padding=VALIDATION_PADDING)
    total = torch.zeros((), dtype=torch.float64)
    for share in parallelism.shares(cuts, lengths):
        loss = summed_loss(model, [examples[i] for i in share.indices], device)
        total += loss.double().cpu() * share.counts
    nats = float(parallelism.ranks.sum(total))
    return nats / sum(trained_tokens(example) for example in examples)


@dataclass(frozen=True, slots=True)
class _Batch:
    """A forward pass: its inputs, and where which tokens are predicted.

    All of it is made from the examples' own lists, so that every shape is known without reading a
    tensor: nothing waits for a device, and the pass can be traced with tensors that hold no data.

    Attributes:
        inputs: token ids, and a mask if there is padding.
        rows_K: the row of each prediction.
        columns_K: its position, counted from the end of the sequence that the output layer sees.
        targets_K: the token that is predicted.
    """

    inputs: dict[str, Tensor]
    rows_K: Tensor
    columns_K: Tensor
    targets_K: Tensor

    @classmethod
    def of(cls, inputs: dict[str, Tensor], predictions: Sequence[tuple[int, int, int]]) -> _Batch:
        """From (row, column, target) of each prediction."""
        table = torch.tensor(predictions, dtype=torch.long).reshape(-1, 3)
        return cls(inputs, *table.unbind(1))


def _causal_batch(examples: Sequence[TrainingExample]) -> _Batch:
    ids = [example.input_ids for example in examples]
    width = max(map(len, ids))
    predictions = [
        (row, column - 1 - width, token)  # the position before a token predicts it
        for row, example in enumerate(examples)
        for column, token in enumerate(example.input_ids)
        if column and example.trained[column]
    ]
    return _Batch.of({"input_ids": _rectangle(ids)} | _mask(ids), predictions)


def _encoder_decoder_batch(examples: Sequence[TrainingExample], start: int) -> _Batch:
    ids = [example.input_ids for example in examples]
    labels = [example.decoder_ids for example in examples]
    width = max(map(len, labels))
    predictions = [
        (row, column - width, token)
        for row, answer in enumerate(labels)
        for column, token in enumerate(answer)
    ]
    shifted = _rectangle([(start, *answer[:-1]) for answer in labels])
    inputs = {"input_ids": _rectangle(ids), "decoder_input_ids": shifted}
    return _Batch.of(inputs | _mask(ids), predictions)


def _rectangle(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows padded with zeros on the right (int64)."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], dtype=torch.long)


def _mask(rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Which entries are real, if not all are: without a mask, attention takes a faster path."""
    if len({len(row) for row in rows}) == 1:
        return {}
    return {"attention_mask": _rectangle([[1] * len(row) for row in rows])}
