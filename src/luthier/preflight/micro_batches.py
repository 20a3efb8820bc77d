"""The forward passes of a training, known in advance because the order of batches is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from luthier.data.batches import ExampleOrder
from luthier.prompts.training_example import TrainingExample
from luthier.training.layout import VALIDATION_LAYOUT, Layout
from luthier.training.objectives import Objective, Trainable


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """A micro-batch, the number of micro-batches in its step, and its layout."""

    objective: Objective[Any]
    examples: tuple[Trainable, ...]
    in_step: int = 1
    layout: Layout = VALIDATION_LAYOUT

    @property
    def sequences(self) -> Sequence[TrainingExample]:
        """The token sequences of the pass."""
        return self.objective.sequences(self.examples)

    @property
    def tokens(self) -> int:
        """Tokens, padding included."""
        lengths = [self.objective.length(example) for example in self.examples]
        rows, length = self.layout.shape(lengths)
        return rows * length

    @property
    def predicted(self) -> int:
        """Positions with logits."""
        return sum(map(self.objective.trained_tokens, self.examples))


def training_passes(
    objective: Objective[Any],
    layout: Layout,
    examples: Sequence[Trainable],
    order: ExampleOrder,
    steps: int,
    tokens: int,
) -> list[ForwardPass]:
    """Every forward pass of the first ``steps`` steps, cut as in the training loop.

    ``tokens`` is the limit per pass, and ``layout`` is the loop's.
    """
    passes = []
    for step in range(steps):
        batch = [examples[index] for index in order.step(step)]
        cuts = _cut(objective, batch, tokens, layout)
        passes += [ForwardPass(objective, cut, len(cuts), layout) for cut in cuts]
    return passes


def validation_passes(
    objective: Objective[Any], examples: Sequence[Trainable], tokens: int
) -> list[ForwardPass]:
    """Every forward pass of one validation, cut as in the training loop."""
    cuts = _cut(objective, examples, tokens, VALIDATION_LAYOUT)
    return [ForwardPass(objective, cut) for cut in cuts]


def largest(passes: Sequence[ForwardPass], count: int) -> list[ForwardPass]:
    """The passes with the most tokens or the most logits: one of them has the peak."""
    by_tokens = sorted(passes, key=lambda one: -one.tokens)[:count]
    by_logits = sorted(passes, key=lambda one: -one.predicted)[:count]
    return by_tokens + by_logits


def evenly(passes: Sequence[ForwardPass], count: int) -> list[ForwardPass]:
    """At most ``count`` passes, spread evenly over their sizes."""
    ordered = sorted(passes, key=lambda one: one.tokens)
    count = min(count, len(ordered))
    return [ordered[(2 * index + 1) * len(ordered) // (2 * count)] for index in range(count)]


def _cut(
    objective: Objective[Any], examples: Sequence[Trainable], tokens: int, layout: Layout
) -> list[tuple[Trainable, ...]]:
    lengths = [objective.length(example) for example in examples]
    cuts = layout.cut(lengths, tokens)
    return [tuple(examples[index] for index in cut) for cut in cuts]
