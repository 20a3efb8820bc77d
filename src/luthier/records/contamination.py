"""Contamination: overlap between test examples and training data."""

from __future__ import annotations

from luthier.records.base import Count, Record


class ContaminatedExample(Record):
    """A test example that overlaps with the training data.

    Attributes:
        id: the example's id.
        runs: its number of word n-grams.
        shared: the number of these that occur in training texts.
        where: the location of one such text.
    """

    id: str
    runs: Count
    shared: Count
    where: str


class Contamination(Record):
    """``contamination.json``: test examples that share a word n-gram with training texts.

    Attributes:
        words: the n of the n-grams.
        train: number of training texts searched.
        test: number of test examples.
        checked: number of test examples that are long enough.
        examples: the test examples that overlap.
    """

    words: Count
    train: Count
    test: Count
    checked: Count
    examples: tuple[ContaminatedExample, ...]

    @property
    def share(self) -> float:
        """The share of the checked examples that overlap."""
        return len(self.examples) / self.checked if self.checked else 0.0

    @property
    def sentence(self) -> str:
        """The result as a sentence."""
        if not self.checked:
            return (
                f"Contamination by the {self.train:,} training texts cannot be checked: "
                f"{self.test:,} of {self.test:,} test examples have too few words."
            )
        short = self.test - self.checked
        unchecked = f"; {short} are too short to check" if short else ""
        share = f" ({self.share:.1%})" if self.examples else ""
        return (
            f"{len(self.examples) or 'None'} of {self.checked} test examples{share} "
            f"{'shares' if len(self.examples) in (0, 1) else 'share'} {self.words} words in a row "
            f"with the {self.train:,} training texts{unchecked}."
        )
