"""Examples side by side: what each system made of the same input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from luthier.core.terminal import printable_values
from luthier.records.evaluation import EvaluationRecord, MetricResult, SampleRecord
from luthier.reports.content import Content, System
from luthier.reports.excerpts import common_ending, prompt_end
from luthier.reports.fair_shares import fair_shares

MAX_EXAMPLES = 500
MAX_CHARACTERS = 4_000
MAX_PAGE = 6_000_000
"""Characters that a page of many examples and systems holds; single texts are cut for it."""
_BEGINNING = 0.25
"""The share of a cut prompt that is its beginning: the question stands at its end."""
_EXCERPT = 160


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a closed set of answers: its label, the words that were scored, and if it is right."""

    label: str
    words: str
    right: bool


@dataclass(frozen=True, slots=True)
class Output:
    """What one system answered.

    Attributes:
        text: the answer; of a closed set the label that was chosen.
        score: None where the metric has no value for one sample.
        finish: whether it ended by itself or was cut.
        likelihoods: of each choice, in nats; empty where answers are open.
        found: what was found in the text, by the name of the extractor.
    """

    text: str
    score: float | None
    finish: Literal["stop", "length"]
    likelihoods: tuple[float, ...]
    found: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One example with the outputs of all systems.

    Attributes:
        prompt: as the first (cheapest) system saw it.
        asked: the end of it, on one line, without what all prompts of the task end with.
        choices: the closed set of answers, where they have words.
        outputs: one a system, None where it has no sample of this id.
        spread: the best score less the worst one.
        right: whether all answers are right; None where a score is more than right or wrong.
        regressed: whether the recommended system scores worse than the cheapest.
    """

    id: str
    task: str
    metric: str
    prompt: str
    asked: str
    references: tuple[str, ...]
    choices: tuple[Choice, ...]
    outputs: tuple[Output | None, ...]
    spread: float
    right: bool | None
    regressed: bool


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of a report, at most `MAX_EXAMPLES` of ``total``.

    Attributes:
        noun: what a system is called.
        tasks: the tasks that the examples are of.
    """

    systems: tuple[str, ...]
    noun: str
    recommended: str | None
    tasks: tuple[str, ...]
    total: int
    rows: tuple[SideBySide, ...]

    @property
    def has_right(self) -> bool:
        """Whether some examples are either right or wrong."""
        return any(row.right is not None for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the page's example browser."""
        shown: dict[str, Any] = printable_values(asdict(self))
        return shown


def collect_examples(content: Content) -> Examples:
    """Join the samples of all systems by task and id, in the order of the first system.

    Where there are too many, each task has its fair share, and in it those examples come first on
    which systems differ, then those that are wrong.
    """
    systems = [system for system in content.systems if any(m.samples for m in system.measured)]
    names = tuple(system.name for system in systems)
    recommended = content.ladder.recommendation.rung if content.ladder else None
    chosen = names.index(recommended) if recommended in names else None
    joined = [
        _joined(systems, record.task, _deciding_metric(content, record), chosen)
        for record in _tasks(systems)
    ]
    shares = fair_shares([len(task) for task in joined], MAX_EXAMPLES)
    picked = [
        each for task, share in zip(joined, shares, strict=True) for each in _picked(task, share)
    ]
    longest = MAX_PAGE // (max(1, len(picked)) * (len(systems) + 2))
    return Examples(
        systems=names,
        noun="rung" if content.ladder else "run",
        recommended=recommended,
        tasks=tuple(dict.fromkeys(each.task for each in picked)),
        total=sum(map(len, joined)),
        rows=tuple(each.shown(min(MAX_CHARACTERS, longest)) for each in picked),
    )


@dataclass(frozen=True, slots=True)
class _Joined:
    """The samples of one example before any text is cut, one a system."""

    task: str
    metric: MetricResult | None
    samples: tuple[SampleRecord | None, ...]
    recommended: int | None
    is_binary: bool
    ending: str

    @property
    def scores(self) -> list[float]:
        """Of the systems that have one."""
        found = (self._score(sample) for sample in self.samples if sample)
        return [score for score in found if score is not None]

    @property
    def spread(self) -> float:
        return max(self.scores) - min(self.scores) if self.scores else 0.0

    @property
    def right(self) -> bool | None:
        return all(score == 1 for score in self.scores) if self.is_binary else None

    def shown(self, longest: int) -> SideBySide:
        """The example as the page shows it, each text with at most ``longest`` characters."""
        first = next(sample for sample in self.samples if sample)
        return SideBySide(
            id=first.id,
            task=self.task,
            metric=self.metric.name if self.metric else "",
            prompt=_clip_middle(first.prompt, longest),
            asked=prompt_end(first.prompt, self.ending, _EXCERPT),
            references=tuple(_clip(reference, longest) for reference in first.references),
            choices=(choices := _choices(first, longest)),
            outputs=tuple(self._output(sample, longest, len(choices)) for sample in self.samples),
            spread=self.spread,
            right=self.right,
            regressed=self._is_worse(),
        )

    def _score(self, sample: SampleRecord) -> float | None:
        return sample.scores.get(self.metric.name) if self.metric else None

    def _output(self, sample: SampleRecord | None, longest: int, num_choices: int) -> Output | None:
        if sample is None:
            return None
        return Output(
            text=_clip(sample.prediction, longest),
            score=self._score(sample),
            finish=sample.finish,
            likelihoods=sample.likelihoods if len(sample.likelihoods) == num_choices else (),
            found=tuple((name, _clip(text, longest)) for name, text in sample.extracted.items()),
        )

    def _is_worse(self) -> bool:
        """Whether the recommended system scores worse than the cheapest."""
        chosen = self.samples[self.recommended] if self.recommended is not None else None
        scores = [self._score(sample) for sample in (self.samples[0], chosen) if sample]
        if self.metric is None or len(scores) < 2 or scores[0] is None or scores[1] is None:
            return False
        return scores[1] < scores[0] if self.metric.higher_is_better else scores[1] > scores[0]


def _joined(
    systems: Sequence[System], task: str, metric: MetricResult | None, recommended: int | None
) -> list[_Joined]:
    columns = [_samples_by_id(system, task) for system in systems]
    scores = {
        sample.scores.get(metric.name) if metric else None
        for column in columns
        for sample in column.values()
    }
    is_binary = bool(scores) and scores <= {0.0, 1.0}
    ids = dict.fromkeys(id_ for column in columns for id_ in column)
    rows = [tuple(column.get(id_) for column in columns) for id_ in ids]
    ending = common_ending(next(filter(None, samples)).prompt for samples in rows)
    return [_Joined(task, metric, samples, recommended, is_binary, ending) for samples in rows]


def _picked(rows: Sequence[_Joined], most: int) -> list[_Joined]:
    """The most telling ones, in the order they had."""
    telling = sorted(range(len(rows)), key=lambda i: (rows[i].spread == 0, rows[i].right is True))
    return [rows[index] for index in sorted(telling[:most])]


def _tasks(systems: Sequence[System]) -> list[EvaluationRecord]:
    """A record for each task, the first there is."""
    records = [measured.record for system in systems for measured in system.measured]
    return list({record.task: record for record in reversed(records)}.values())[::-1]


def _deciding_metric(content: Content, record: EvaluationRecord) -> MetricResult | None:
    """The one that the ladder or the comparison was decided by, else the first."""
    by_name = {metric.name: metric for metric in record.metrics}
    compared = content.compared.tasks if content.compared else ()
    deciding = {task.task: task.metric for task in compared}
    wanted = content.ladder.metric if content.ladder else deciding.get(record.task, "")
    return by_name.get(wanted, record.metrics[0] if record.metrics else None)


def _samples_by_id(system: System, task: str) -> dict[str, SampleRecord]:
    return {
        sample.id: sample
        for measured in system.measured
        if measured.record.task == task
        for sample in measured.samples
    }


def _choices(sample: SampleRecord, longest: int) -> tuple[Choice, ...]:
    if len(sample.words) != len(sample.choices):
        return ()
    return tuple(
        Choice(_clip(label, longest), _clip(words, longest), label in sample.references)
        for label, words in zip(sample.choices, sample.words, strict=True)
    )


def _clip(text: str, longest: int) -> str:
    """The beginning of a very long text, saying so: one sample must not fill the report."""
    more = len(text) - longest
    return text if more <= 0 else f"{text[:longest]} … [{more:,} more characters]"


def _clip_middle(text: str, longest: int) -> str:
    """Beginning and end of a very long prompt."""
    more = len(text) - longest
    if more <= 0:
        return text
    start = int(longest * _BEGINNING)
    return f"{text[:start]} … [{more:,} characters left out] … {text[start + more :]}"
