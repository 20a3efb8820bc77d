"""The answer of the most similar training example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from luthier.core.example import Example
from luthier.evaluation.baselines.base import Baseline, BaselineAnswer, Frame, question_text
from luthier.evaluation.baselines.tfidf import fitted

_ROWS = 512
"""Questions compared at once, which bounds the memory of the similarities."""


class Nearest(Baseline):
    """The answer of the training example with the most similar question: cosine of TF-IDF.

    Attributes:
        texts: the training questions, without the frame.
        known: their answers.
    """

    texts: tuple[str, ...]
    known: tuple[str, ...]

    @classmethod
    def fit(cls, train: Sequence[Example]) -> Self:
        """See `Baseline.fit`."""
        frame = Frame.of([question_text(example) for example in train])
        return cls(
            frame=frame,
            texts=tuple(frame.content(question_text(example)) for example in train),
            known=tuple(example.references[0] for example in train),
        )

    def answers(self, texts: Sequence[str], examples: Sequence[Example]) -> list[BaselineAnswer]:
        """See `Baseline.answers`; the first of equally similar examples counts."""
        del examples
        vectorizer, known = fitted(self.texts)
        found: list[int] = []
        for start in range(0, len(texts), _ROWS):
            asked = vectorizer.transform(texts[start : start + _ROWS])
            found += (asked @ known.T).toarray().argmax(axis=1).tolist()
        return [BaselineAnswer(text=self.known[place]) for place in found]

    @property
    def num_parameters(self) -> int:
        """See `Baseline.num_parameters`: nothing is learned but the examples themselves."""
        return 0
