"""The first sentence of the text, a baseline of summaries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

from luthier.core.example import Example
from luthier.evaluation.baselines.base import Baseline, BaselineAnswer, Frame, question_text

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s|[。！？]|\n")


class Lead(Baseline):
    """The first sentence of the question's content (lead-1)."""

    @classmethod
    def fit(cls, train: Sequence[Example]) -> Self:
        """See `Baseline.fit`; only the frame of the prompts is learned."""
        return cls(frame=Frame.of([question_text(example) for example in train]))

    def answers(self, texts: Sequence[str], examples: Sequence[Example]) -> list[BaselineAnswer]:
        """See `Baseline.answers`."""
        del examples
        return [BaselineAnswer(text=first_sentence(text)) for text in texts]

    @property
    def num_parameters(self) -> int:
        """See `Baseline.num_parameters`."""
        return 0


def first_sentence(text: str) -> str:
    """The text up to its first end of a sentence or line."""
    text = text.strip()
    end = _SENTENCE_END.search(text)
    return text[: end.end()].strip() if end else text
