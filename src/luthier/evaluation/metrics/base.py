"""The interface of metrics: statistics of each sample, and a figure computed from their sum.

Because the figure depends only on the sum of the statistics, a bootstrap resample is a weighted
sum, and all resamples together are one matrix product.
"""

from __future__ import annotations

import math
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from luthier.records.evaluation import SampleRecord
from luthier.tasks.needs import Need as Need

Floats = NDArray[np.float64]
SHARE = (0.0, 1.0)
"""The bounds of a share."""


UnicodeForm = Literal["NFC", "NFKC"]
UNICODE_FORMS: Mapping[str, UnicodeForm] = {"nfc": "NFC", "nfkc": "NFKC"}
"""Unicode normalisation forms, by option."""
VISIBLE = "visible"
"""The option that removes invisible characters, such as zero-width spaces."""


def visible(text: str) -> str:
    """``text`` without invisible characters, which no Unicode form removes."""
    if text.isascii():
        return text
    return "".join(character for character in text if unicodedata.category(character) != "Cf")


_READINGS: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "nfc": ("after Unicode normalisation (NFC)", partial(unicodedata.normalize, "NFC")),
    "nfkc": ("after Unicode normalisation (NFKC)", partial(unicodedata.normalize, "NFKC")),
    VISIBLE: ("without characters that are not shown, such as spaces of no width", visible),
}
"""By option, in words and as a function; a caveat names each that would matter."""


def within(values: Floats, bounds: tuple[float, float]) -> Floats:
    """Values clipped to their bounds if they exceed them only by rounding.

    BLEU is 100.00000000000004 if every answer is right. Larger deviations are kept, so that a wrong
    formula is not hidden.

    Args:
        values: of a formula, ``[...]``.
        bounds: the smallest and the largest exact value.
    """
    inside: Floats = np.clip(values, *bounds)
    return np.where(np.isclose(values, inside, rtol=1e-9, atol=1e-9), inside, values)


class Metric(ABC):
    """A figure of merit of answered samples.

    Attributes:
        name: the name for users.
        higher_is_better: whether a higher value is better.
        needs: the required content of samples.
        bounds: the smallest and the largest possible value.
        least_answers: the minimum number of answers per question.
        share_columns: the columns of successes and of trials in the statistics, if the figure is
            the share of successes among trials; its interval is then Wilson's.
    """

    higher_is_better: ClassVar[bool] = True
    needs: frozenset[Need] = frozenset()
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    least_answers: int = 1
    share_columns: ClassVar[tuple[int, int] | None] = None

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """Sufficient statistics of each sample: ``[n, k]``.

        Raises:
            DataError: the samples lack required content.
        """

    @abstractmethod
    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """The figure of a set of samples.

        Args:
            summed: ``[..., k]``, statistics summed over the samples of a set.
            count: ``[...]``, the number of samples.

        Returns:
            ``[...]``.
        """

    @abstractmethod
    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """Everything that must be equal for two values to be comparable."""

    def per_sample(self, statistics: Floats) -> Floats:
        """The value of each sample separately: ``[n, k]`` to ``[n]``."""
        return self.aggregate(statistics, np.ones(len(statistics)))

    def caveats(self, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
        """Reasons why this metric may mislead on these answers, in words."""
        del samples
        return ()


class MeanMetric(Metric):
    """A metric that is the plain mean of one score per sample (k = 1)."""

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """The mean."""
        mean: Floats = summed[..., 0] / count
        return mean


class TextMetric(Metric):
    """A metric that depends only on predicted texts and references."""

    needs = frozenset[Need]({"answers"})
    unicode: UnicodeForm | None = None
    """The Unicode form for comparing texts; None: unchanged."""
    only_visible: bool = False
    """Whether invisible characters are removed."""

    @abstractmethod
    def described(self, references: Sequence[Sequence[str]]) -> str:
        """The signature without the treatment of Unicode."""

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """Everything that must be equal for two values to be comparable."""
        form = f"|unicode:{self.unicode}" if self.unicode else ""
        shown = "|invisible:left-out" if self.only_visible else ""
        return self.described(self._in_form(references)) + form + shown

    @abstractmethod
    def statistics(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        choices: Sequence[Sequence[str]] = (),
    ) -> Floats:
        """Sufficient statistics of each sample.

        Args:
            predictions: n generated texts.
            references: at least one reference for each of them.
            choices: the closed set of answers of each; used only by metrics that need choices.

        Returns:
            ``[n, k]``.
        """

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """The statistics of the texts of each sample."""
        (predictions,) = self._in_form([[sample.prediction for sample in samples]])
        return self.statistics(
            predictions,
            self._in_form([sample.references for sample in samples]),
            self._in_form([sample.choices for sample in samples]),
        )

    def _in_form(self, texts: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
        if self.unicode is None and not self.only_visible:
            return texts
        return [tuple(map(self._read, row)) for row in texts]

    def _read(self, text: str) -> str:
        text = visible(text) if self.only_visible else text
        return unicodedata.normalize(self.unicode, text) if self.unicode else text

    def caveats(self, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
        """Notes on empty answers and references, and on answers for which Unicode matters.

        Empty answers often mean a wrong template, or an immediate end.
        """
        empty = sum(not sample.prediction.strip() for sample in samples)
        found = [f"{empty:,} of {len(samples):,} answers are empty"] if empty else []
        if void := sum(not any(text.strip() for text in s.references) for s in samples):
            found.append(f"{void:,} of {len(samples):,} examples have only empty references")
        for option, (when, read) in _READINGS.items():
            if self.only_visible if option == VISIBLE else self.unicode:
                continue
            if apart := sum(_agrees_only(read, sample) for sample in samples):
                found.append(
                    f"{apart:,} of {len(samples):,} answers have words of their references only "
                    f"{when}; to compare so, append :{option} to the metric, such as "
                    f"exact_match:{option}"
                )
                break
        return tuple(found)


def _agrees_only(read: Callable[[str], str], sample: SampleRecord) -> bool:
    """Whether more words of an answer match a reference when both are normalised."""
    texts = (sample.prediction, *sample.references)
    if all(text.isascii() for text in texts):
        return False
    said, *accepted = (set(text.split()) for text in texts)
    said_too, *accepted_too = (set(read(text).split()) for text in texts)
    return any(
        len(said_too & words_too) > len(said & words)
        for words, words_too in zip(accepted, accepted_too, strict=True)
    )


class TextScore(MeanMetric, TextMetric):
    """The plain mean of a score of each text."""

    @abstractmethod
    def score(self, prediction: str, references: Sequence[str], choices: Sequence[str]) -> float:
        """The score of one sample. ``choices`` is empty for open answers."""

    def statistics(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        choices: Sequence[Sequence[str]] = (),
    ) -> Floats:
        """The score of each sample, ``[n, 1]``."""
        closed = choices or [()] * len(predictions)
        rows = zip(predictions, references, closed, strict=True)
        return np.array([[self.score(*row)] for row in rows], dtype=np.float64).reshape(-1, 1)
