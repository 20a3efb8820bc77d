"""Layouts of examples in a forward pass: padded rows, or one packed row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from luthier.data.batches import micro_batches, packed_rows
from luthier.prompts.training_example import TrainingExample


@dataclass(frozen=True, slots=True)
class Batch:
    """A forward pass: its inputs, and the positions and targets of predictions.

    It is built from Python lists, so every shape is known without reading a tensor. Nothing waits
    for a device, and the pass can be traced with fake tensors.

    Attributes:
        inputs: token ids, and a mask or positions if needed.
        rows_K: the row of each prediction.
        columns_K: its position, counted from the end of the sequence seen by the output layer.
        targets_K: the predicted token.
    """

    inputs: dict[str, Tensor]
    rows_K: Tensor
    columns_K: Tensor
    targets_K: Tensor

    @classmethod
    def of(cls, inputs: dict[str, Tensor], predictions: Sequence[tuple[int, int, int]]) -> Batch:
        """A batch from (row, column, target) of each prediction."""
        table = torch.tensor(predictions, dtype=torch.long).reshape(-1, 3)
        return cls(inputs, *table.unbind(1))


class Layout(ABC):
    """A way to lay out examples in a forward pass."""

    @abstractmethod
    def cut(self, lengths: Sequence[int], tokens: int) -> list[list[int]]:
        """The indices of the examples in each forward pass of at most ``tokens`` tokens."""

    @abstractmethod
    def shape(self, lengths: Sequence[int]) -> tuple[int, int]:
        """Rows and tokens per row of a forward pass over examples of these lengths."""

    @abstractmethod
    def starts(self, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """The row and start position of each example in a forward pass."""

    @abstractmethod
    def batch(self, examples: Sequence[TrainingExample]) -> Batch:
        """A forward pass of a decoder-only model over ``examples``."""


@dataclass(frozen=True, slots=True)
class Padded(Layout):
    """One row per example, padded to the longest.

    Attributes:
        max_padding: the share of padding above which a pass is split in two.
    """

    max_padding: float

    def cut(self, lengths: Sequence[int], tokens: int) -> list[list[int]]:
        """See `Layout.cut`."""
        return micro_batches(lengths, tokens=tokens, max_padding=self.max_padding)

    def shape(self, lengths: Sequence[int]) -> tuple[int, int]:
        """See `Layout.shape`."""
        return len(lengths), max(lengths)

    def starts(self, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """See `Layout.starts`."""
        return [(row, 0) for row in range(len(lengths))]

    def batch(self, examples: Sequence[TrainingExample]) -> Batch:
        """See `Layout.batch`."""
        ids = [example.input_ids for example in examples]
        width = max(map(len, ids))
        predictions = [
            (row, column - width, token)
            for row, example in enumerate(examples)
            for column, token in _predicted(example)
        ]
        return Batch.of({"input_ids": _rectangle(ids)} | _mask(ids), predictions)


@dataclass(frozen=True, slots=True)
class Packed(Layout):
    """One row of concatenated examples, with positions that restart for each.

    There is no mask: transformers detects the start of each example from the positions and applies
    block-diagonal attention (as in Krell et al. 2021, arXiv 2107.02027). `luthier.training.packing`
    tests whether a model does so.
    """

    def cut(self, lengths: Sequence[int], tokens: int) -> list[list[int]]:
        """See `Layout.cut`."""
        return packed_rows(lengths, tokens=tokens)

    def shape(self, lengths: Sequence[int]) -> tuple[int, int]:
        """See `Layout.shape`."""
        return 1, sum(lengths)

    def starts(self, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """See `Layout.starts`."""
        return [(0, start) for start in accumulate(lengths[:-1], initial=0)]

    def batch(self, examples: Sequence[TrainingExample]) -> Batch:
        """See `Layout.batch`."""
        lengths = [len(example.input_ids) for example in examples]
        predictions = [
            (0, start + column - sum(lengths), token)
            for (_, start), example in zip(self.starts(lengths), examples, strict=True)
            for column, token in _predicted(example)
        ]
        inputs = {"input_ids": torch.tensor([[i for one in examples for i in one.input_ids]])}
        if len(examples) > 1:
            positions_T = torch.cat([torch.arange(length) for length in lengths])
            inputs["position_ids"] = positions_T[None]
        return Batch.of(inputs, predictions)


VALIDATION_LAYOUT = Padded(max_padding=0.2)
"""The layout of validation examples."""


def encoder_decoder_batch(examples: Sequence[TrainingExample], start: int) -> Batch:
    """A forward pass of an encoder-decoder model over padded rows.

    ``start`` is the first token of each decoder sequence.
    """
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
    return Batch.of(inputs | _mask(ids), predictions)


def _predicted(example: TrainingExample) -> list[tuple[int, int]]:
    """Position and token of each prediction; a token is predicted at the position before it."""
    return [
        (column - 1, token)
        for column, token in enumerate(example.input_ids)
        if column and example.trained[column]
    ]


def _rectangle(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows padded with zeros on the right (int64)."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], dtype=torch.long)


def _mask(rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """The mask of real entries; empty if all are real, since attention is faster without it."""
    if len({len(row) for row in rows}) == 1:
        return {}
    return {"attention_mask": _rectangle([[1] * len(row) for row in rows])}
