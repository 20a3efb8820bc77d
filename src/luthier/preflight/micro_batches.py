"""The forward passes that a tuning will make: known before it begins, since its order is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.data.batches import BatchOrder
from luthier.prompts.training_example import TrainingExample
from luthier.training.layout import Layout
from luthier.training.loss import VALIDATION_LAYOUT, padded_length, trained_tokens


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """One micro-batch, the number of micro-batches of its step, and its layout."""

    examples: tuple[TrainingExample, ...]
    in_step: int = 1
    layout: Layout = VALIDATION_LAYOUT

    @property
    def tokens(self) -> int:
        """Padding included."""
        rows, length = self.layout.shape([padded_length(example) for example in self.examples])
        return rows * length

    @property
    def predicted(self) -> int:
        """Positions with logits."""
        return sum(map(trained_tokens, self.examples))


def training_passes(
    layout: Layout,
    examples: Sequence[TrainingExample],
    order: BatchOrder,
    steps: int,
    tokens: int,
) -> list[ForwardPass]:
    """Every forward pass of the first ``steps`` steps, cut as the loop cuts them.

    ``tokens`` are those that a pass may have, and ``layout`` is the loop's.
    """
    passes = []
    for step in range(steps):
        batch = [examples[index] for index in order.step(step)]
        cuts = _cut(batch, tokens, layout)
        passes += [ForwardPass(cut, len(cuts), layout) for cut in cuts]
    return passes


def validation_passes(examples: Sequence[TrainingExample], tokens: int) -> list[ForwardPass]:
    """Every forward pass of one validation, cut as the loop cuts them."""
    cuts = _cut(examples, tokens, VALIDATION_LAYOUT)
    return [ForwardPass(cut) for cut in cuts]


def largest(passes: Sequence[ForwardPass], count: int) -> list[ForwardPass]:
    """Those with the most tokens and those with the most logits: one of them has the peak."""
    by_tokens = sorted(passes, key=lambda one: -one.tokens)[:count]
    by_logits = sorted(passes, key=lambda one: -one.predicted)[:count]
    return by_tokens + by_logits


def evenly(passes: Sequence[ForwardPass], count: int) -> list[ForwardPass]:
    """At most ``count`` of them, spread evenly over their sizes."""
    ordered = sorted(passes, key=lambda one: one.tokens)
    count = min(count, len(ordered))
    return [ordered[(2 * index + 1) * len(ordered) // (2 * count)] for index in range(count)]


def _cut(
    examples: Sequence[TrainingExample], tokens: int, layout: Layout
) -> list[tuple[TrainingExample, ...]]:
    lengths = [padded_length(example) for example in examples]
    cuts = layout.cut(lengths, tokens)
    return [tuple(examples[index] for index in cut) for cut in cuts]
