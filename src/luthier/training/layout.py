"""How the examples of a forward pass lie in its tensors: padded rows, or one packed row."""

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
    """A forward pass: its inputs, and where which tokens are predicted.

    All of it is made from the examples' own lists, so that every shape is known without reading a
    tensor: nothing waits for a device, and the pass can be traced with tensors that hold no data.

    Attributes:
        inputs: token ids, and a mask or positions where they are needed.
        rows_K: the row of each prediction.
        columns_K: its position, counted from the end of the sequence that the output layer sees.
        targets_K: the token that is predicted.
    """

    inputs: dict[str, Tensor]
    rows_K: Tensor
    columns_K: Tensor
    targets_K: Tensor

    @classmethod
    def of(cls, inputs: dict[str, Tensor], predictions: Sequence[tuple[int, int, int]]) -> Batch:
        """From (row, column, target) of each prediction."""
        table = torch.tensor(predictions, dtype=torch.long).reshape(-1, 3)
        return cls(inputs, *table.unbind(1))


class Layout(ABC):
    """A way to lay out examples."""

    @abstractmethod
    def cut(self, lengths: Sequence[int], tokens: int) -> list[list[int]]:
        """The indices of the examples of each forward pass, which may have so many tokens."""

    @abstractmethod
    def shape(self, lengths: Sequence[int]) -> tuple[int, int]:
        """Rows of a forward pass over examples of these lengths, and tokens of a row."""

    @abstractmethod
    def starts(self, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """The row of each example of a forward pass, and the position where it begins."""

    @abstractmethod
    def batch(self, examples: Sequence[TrainingExample]) -> Batch:
        """A forward pass of a decoder-only model over ``examples``."""


@dataclass(frozen=True, slots=True)
class Padded(Layout):
    """A row each, filled up to the longest.

    Attributes:
        max_padding: the share of padding above which a pass is cut in two.
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
    """One row, in which examples follow one another, with positions that begin anew for each.

    There is no mask: from the positions transformers sees where an example begins, and lets none
    attend to another (block-diagonal attention, as in Krell et al. 2021, arXiv 2107.02027).
    Whether a model does so is found out by `luthier.training.packing`.
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
"""How the examples of a validation lie in its forward passes."""


def encoder_decoder_batch(examples: Sequence[TrainingExample], start: int) -> Batch:
    """A forward pass of an encoder-decoder model over padded rows.

    ``start`` is the token with which each decoder sequence begins.
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
    """Position and token of each prediction: the position before a token predicts it."""
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
    """Which entries are real, if not all are: without a mask, attention takes a faster path."""
    if len({len(row) for row in rows}) == 1:
        return {}
    return {"attention_mask": _rectangle([[1] * len(row) for row in rows])}
