"""Test examples that stand in the training data."""

from __future__ import annotations

from luthier.records.base import Count, Record


class ContaminatedExample(Record):
    """A test example that the training data contains in part.

    Attributes:
        id: of the example.
        runs: its runs of words.
        shared: those of them that stand in training texts.
        where: the place of one such text.
    """

    id: str
    runs: Count
    shared: Count
    where: str


class Contamination(Record):
    """``contamination.json``: which test examples share a run of words with training texts.

    Attributes:
        words: the length of the run.
        train: training texts that were looked at.
        test: test examples.
        checked: those of them that were long enough.
        examples: those that share one.
    """

    words: Count
    train: Count
    test: Count
    checked: Count
    examples: tuple[ContaminatedExample, ...]

    @property
    def share(self) -> float:
        """The share of the checked examples."""
        return len(self.examples) / self.checked if self.checked else 0.0

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        if not self.checked:
            return (
                f"Whether test examples share {self.words} words in a row with the {self.train:,} "
                f"training texts cannot be told: {self.test:,} of {self.test:,} have too few words."
            )
        short = self.test - self.checked
        unchecked = f"; {short} have too few words of their own to tell" if short else ""
        share = f" ({self.share:.1%})" if self.examples else ""
        return (
            f"{len(self.examples) or 'None'} of {self.checked} test examples{share} "
            f"{'shares' if len(self.examples) in (0, 1) else 'share'} {self.words} words in a row "
            f"with the {self.train:,} training texts{unchecked}."
        )
