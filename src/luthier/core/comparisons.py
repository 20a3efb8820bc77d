"""What comparisons beyond one evaluation give back."""

from __future__ import annotations

from pydantic import Field

from luthier.core.records import (
    Comparison,
    Count,
    Forgetting,
    MetricResult,
    ModelStamp,
    Record,
    TemplateStamp,
)


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


class ItemChange(Record):
    """A line of ``forgetting.items.jsonl``: a text or an example, before and after.

    Attributes:
        task: the task of an example; empty for a general text.
        id: of the example, or the number of the text.
        group: what it is about, where that is known.
        before: its score, or its loss in nats per token.
        after: the same of the tuned model.
    """

    task: str
    id: str
    group: str
    before: float
    after: float


class GroupChange(Record):
    """What became of the texts or examples of one kind.

    Attributes:
        group: the kind; empty where none is known.
        n: how many there are.
        before: their figure before.
        after: their figure after.
        low: lower end of the interval of the change.
        high: its upper end.
        no_interval: the reason why no interval can be given.
    """

    group: str
    n: Count
    before: float
    after: float
    low: float
    high: float
    no_interval: str = ""

    @property
    def change(self) -> float:
        """After, less before."""
        return self.after - self.before


class TaskChange(Record):
    """A stored evaluation before and after.

    Attributes:
        task: its name.
        metric: the metric that decides.
        before: its figure before.
        after: its figure after.
        comparison: the paired comparison.
        lost: examples that are answered worse than before.
        gained: examples that are answered better.
        groups: by kind, those first that lost most.
    """

    task: str
    metric: str
    before: float
    after: float
    comparison: Comparison
    lost: Count
    gained: Count
    groups: tuple[GroupChange, ...]


class ForgettingReport(Record):
    """What a model lost, or gained, from before to after.

    Attributes:
        before: the model or run before.
        after: the run after.
        general: the rise of the loss on general text; None where there is no such text.
        topics: the same by kind of text, those first that rose most.
        tasks: evaluations that both have.
    """

    before: str
    after: str
    general: Forgetting | None
    topics: tuple[GroupChange, ...]
    tasks: tuple[TaskChange, ...]


class Judgement(Record):
    """``judgements/<task>-over-<baseline>.json``: what a judge says of two systems' answers.

    Every pair was asked in both orders; it is won or lost where both verdicts agree, else a tie.

    Attributes:
        task: of the answers.
        candidate: the system that wins or loses.
        over: the one it is compared with, or ``references``.
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
    over: str
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
