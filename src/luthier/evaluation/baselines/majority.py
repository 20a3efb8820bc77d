"""The most frequent choice, whatever is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from luthier.core.example import Example
from luthier.evaluation.baselines.base import Baseline, BaselineAnswer, likeliest


class Majority(Baseline):
    """Always the most frequent choice of the training examples.

    Attributes:
        shares: the probability of each choice: its count plus one, over all of them (Laplace).
    """

    needs_choices: ClassVar[bool] = True
    shares: Mapping[str, float]

    @classmethod
    def fit(cls, train: Sequence[Example]) -> Self:
        """See `Baseline.fit`."""
        choices = train[0].choices
        counts = Counter(example.references[0] for example in train)
        total = len(train) + len(choices)
        return cls(shares={choice: (counts[choice] + 1) / total for choice in choices})

    def answers(self, texts: Sequence[str], examples: Sequence[Example]) -> list[BaselineAnswer]:
        """See `Baseline.answers`."""
        del texts
        return [
            likeliest(example.choices, [self.shares.get(choice, 0.0) for choice in example.choices])
            for example in examples
        ]

    @property
    def num_parameters(self) -> int:
        """See `Baseline.num_parameters`."""
        return len(self.shares)
