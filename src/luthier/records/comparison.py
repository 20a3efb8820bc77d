"""Comparisons: paired tests, sample sizes, judgements, and runs beside each other."""

from __future__ import annotations

from pydantic import Field

from luthier.records.base import Count, Record
from luthier.records.evaluation import MetricResult, ModelStamp, TemplateStamp

TWO_SIDED = "two-sided, for any difference"


class Comparison(Record):
    """A paired comparison of two systems on the same examples.

    Attributes:
        baseline: the system that is compared with.
        difference: in the metric's own unit.
        low: lower end of its interval, which holds 0 exactly where ``p`` is above one minus the
            interval's level.
        high: upper end.
        p: the two-sided p-value.
        p_adjusted: the p-value after the correction for all comparisons that were made together:
            Holm's, or the step-down over all pairs of a ladder, which tests gains only.
        alternative: what ``p`` is a test of, in words.
        adjustment: what ``p_adjusted`` is a test of, and how it is corrected, in words.
        test: the name of the test.
        n: paired examples.
        units: groups of examples that were swapped together; None in records of earlier versions.
        standard_error: of the difference, clustered where examples belong together.
        detectable: the least difference that so many examples show 8 times in 10; None: no one.
        no_interval: the reason why no interval can be given.
    """

    baseline: str
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    test: str
    n: Count
    units: Count | None = None
    standard_error: float | None = None
    detectable: float | None = None
    no_interval: str = ""
    alternative: str = TWO_SIDED
    adjustment: str = TWO_SIDED


class ExamplesNeeded(Record):
    """A row of `SampleSize`.

    Attributes:
        correlation: of the two systems' scores.
        examples: how many find the difference.
        detectable: the least difference that those find on which the spread was measured.
    """

    correlation: float
    examples: Count
    detectable: float


class SampleSize(Record):
    """How many examples a difference needs, at a level and with a power.

    Attributes:
        difference: that is to be found, in the metric's own unit.
        alpha: the level of the two-sided test.
        power: the probability of finding it.
        source: where the spread of the scores is from, in words.
        measured_on: the examples on which the spread was measured; 1 where it was assumed.
        rows: by how much the two systems' scores agree.
    """

    difference: float
    alpha: float
    power: float
    source: str
    measured_on: Count
    rows: tuple[ExamplesNeeded, ...]


class Judgement(Record):
    """``judgements/<task>-over-<baseline>.json``: what a judge says of two systems' answers.

    Every pair was asked in both orders; it is won or lost where both verdicts agree, else a tie.

    Attributes:
        task: of the answers.
        candidate: the system that wins or loses.
        baseline: the one it is compared with, or ``references``.
        judge: the model that judged.
        template: how it was asked.
        win_rate: the share of pairs that were won, ties counting a half.
        wins: pairs that were won.
        losses: pairs that were lost.
        ties: all others.
        equal: pairs of equal answers, which are ties and were not asked.
        inconsistent: pairs whose two verdicts contradict each other.
        unread: pairs of which a verdict could not be read.
        seed: of the draws that the interval is made of; None: not told, by earlier versions.
        resamples: how many draws these are.
    """

    task: str
    candidate: str
    baseline: str
    judge: ModelStamp
    template: TemplateStamp
    win_rate: MetricResult
    wins: Count
    losses: Count
    ties: Count
    equal: Count
    inconsistent: Count
    unread: Count
    seed: int | None = None
    resamples: int | None = Field(default=None, ge=1, le=10**6)

    @property
    def inconsistency(self) -> float:
        """The share of inconsistent pairs among those with two verdicts."""
        read = self.win_rate.n - self.equal - self.unread
        return self.inconsistent / read if read else 0.0


class DifferentItem(Record):
    """An example on which systems have different scores.

    Attributes:
        id: of the example.
        prompt: as the first system saw it.
        references: the accepted answers.
        answers: what each system said.
        scores: of each system.
        words: that stood for each label, where answers are labels.
    """

    id: str
    prompt: str
    references: tuple[str, ...]
    answers: tuple[str, ...]
    scores: tuple[float, ...]
    words: dict[str, str]


class TaskComparison(Record):
    """Systems on the same examples of one task, each but the first compared with the first.

    Attributes:
        task: its name.
        metric: the metric that decides.
        results: its figure of each system.
        comparisons: of each system but the first.
        better: on how many examples each of these has the better score.
        worse: on how many it has the worse one.
        items: some of the examples on which scores differ, the largest differences first.
    """

    task: str
    metric: str
    results: tuple[MetricResult, ...]
    comparisons: tuple[Comparison, ...]
    better: tuple[int, ...]
    worse: tuple[int, ...]
    items: tuple[DifferentItem, ...] = ()


class SuiteComparison(Record):
    """The score of a suite of tasks, and how far each system but the first is from the first.

    Attributes:
        suite: the name of the suite, or of a category of it.
        results: the score of each system.
        comparisons: of each system but the first, on the same questions.
    """

    suite: str
    results: tuple[MetricResult, ...]
    comparisons: tuple[Comparison, ...]


class RunComparison(Record):
    """Runs that answered the same examples, each but the first compared with the first.

    Attributes:
        names: of the runs, all different.
        tasks: the tasks that all of them have.
        suites: the suites that all of them have, over the same tasks.
        of_ladder: the adapt run whose rungs they all are; empty where they are not.
    """

    names: tuple[str, ...]
    tasks: tuple[TaskComparison, ...]
    suites: tuple[SuiteComparison, ...] = ()
    of_ladder: str = ""
