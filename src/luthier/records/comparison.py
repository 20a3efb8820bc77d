"""Comparisons of systems: paired tests, sample sizes, judgements and side-by-side runs."""

from __future__ import annotations

from pydantic import Field

from luthier.records.base import Count, Record
from luthier.records.evaluation import MetricResult, ModelStamp, TemplateStamp

TWO_SIDED = "two-sided, for any difference"


class Comparison(Record):
    """A paired comparison of two systems on the same examples.

    Attributes:
        baseline: the system to compare with.
        difference: in the unit of the metric.
        low: lower end of its interval, which contains 0 exactly if ``p`` exceeds one minus the
            interval's level.
        high: upper end.
        p: the two-sided p-value.
        p_adjusted: the p-value corrected for all comparisons made together: Holm's method, or the
            step-down test over all pairs of a ladder, which tests gains only.
        alternative: the alternative hypothesis of ``p``, in words.
        adjustment: the alternative and correction of ``p_adjusted``, in words.
        test: the name of the test.
        n: number of paired examples.
        units: number of groups swapped together; None in records of earlier versions.
        standard_error: of the difference, clustered where examples belong together.
        detectable: the smallest difference detected with a power of 80 % at this size; None:
            unknown.
        no_interval: the reason for a missing interval.
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
        correlation: between the scores of the two systems.
        examples: the number needed to detect the difference.
        detectable: the smallest difference detectable with the measured number of examples.
    """

    correlation: float
    examples: Count
    detectable: float


class SampleSize(Record):
    """The number of examples needed to detect a difference, by level and power.

    Attributes:
        difference: the difference to detect, in the unit of the metric.
        alpha: the level of the two-sided test.
        power: the probability of detecting it.
        source: the source of the scores' spread, in words.
        measured_on: number of examples on which the spread was measured; 1 if it was assumed.
        rows: one for each correlation of the two systems' scores.
    """

    difference: float
    alpha: float
    power: float
    source: str
    measured_on: Count
    rows: tuple[ExamplesNeeded, ...]


class Judgement(Record):
    """``judgements/<task>-over-<baseline>.json``: a judge's verdicts on two systems' answers.

    Every pair is judged in both orders. It is won or lost if both verdicts agree, otherwise a tie.

    Attributes:
        task: the task that was answered.
        candidate: the system that wins or loses.
        baseline: the other system, or ``references``.
        judge: the judge model.
        template: the judge's prompt template.
        win_rate: the share of pairs won; ties count a half.
        wins: number of pairs won.
        losses: number of pairs lost.
        ties: number of all other pairs.
        equal: pairs with equal answers, counted as ties without asking.
        inconsistent: pairs with contradicting verdicts.
        unread: pairs with an unreadable verdict.
        seed: the seed of the interval's resamples; None in records of earlier versions.
        resamples: the number of resamples.
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
        """The share of inconsistent pairs among those with two readable verdicts."""
        read = self.win_rate.n - self.equal - self.unread
        return self.inconsistent / read if read else 0.0


class DifferentItem(Record):
    """An example that the systems score differently.

    Attributes:
        id: the example's id.
        prompt: the first system's prompt.
        references: the accepted answers.
        answers: the answer of each system.
        scores: the score of each system.
        words: the wording of each label, where answers are labels.
    """

    id: str
    prompt: str
    references: tuple[str, ...]
    answers: tuple[str, ...]
    scores: tuple[float, ...]
    words: dict[str, str]


class TaskComparison(Record):
    """Systems on the same examples of one task; each is compared with the first.

    Attributes:
        task: its name.
        metric: the primary metric.
        results: its value for each system.
        comparisons: for each system except the first.
        better: the number of examples on which each of these scores higher.
        worse: the number of examples on which it scores lower.
        items: some of the differing examples, largest differences first.
    """

    task: str
    metric: str
    results: tuple[MetricResult, ...]
    comparisons: tuple[Comparison, ...]
    better: tuple[int, ...]
    worse: tuple[int, ...]
    items: tuple[DifferentItem, ...] = ()


class SuiteComparison(Record):
    """The score of a suite of tasks; each system is compared with the first.

    Attributes:
        suite: the name of the suite, or of one of its categories.
        results: the score of each system.
        comparisons: for each system except the first, on the same questions.
    """

    suite: str
    results: tuple[MetricResult, ...]
    comparisons: tuple[Comparison, ...]


class RunComparison(Record):
    """Runs that answered the same examples; each is compared with the first.

    Attributes:
        names: the names of the runs, all different.
        tasks: the tasks that all runs share.
        suites: the suites that all runs share, over the same tasks.
        of_ladder: the adapt run whose rungs they are; empty for other runs.
    """

    names: tuple[str, ...]
    tasks: tuple[TaskComparison, ...]
    suites: tuple[SuiteComparison, ...] = ()
    of_ladder: str = ""
