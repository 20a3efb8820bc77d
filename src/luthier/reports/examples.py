"""Examples with the outputs of all systems side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from luthier.core.probability import softmax
from luthier.core.terminal import printable_values
from luthier.records.evaluation import EvaluationRecord, MetricResult, SampleRecord
from luthier.reports.content import Content, System
from luthier.reports.excerpts import common_ending, prompt_end
from luthier.reports.fair_shares import fair_shares
from luthier.reports.messages import Message, messages_of

MAX_EXAMPLES = 500
MAX_CHARACTERS = 4_000
"""Maximum characters of an answer."""
MAX_PROMPT = 24_000
"""Maximum characters of a prompt."""
MAX_PAGE = 6_000_000
"""Maximum characters of all answers, and of all prompts, on a page; longer ones are truncated."""
_BEGINNING = 0.25
"""The share of a truncated message kept from its start; the question is at its end."""
_EXCERPT = 160


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a closed set of answers: its label, its scored wording, and whether it is right."""

    label: str
    words: str
    right: bool


@dataclass(frozen=True, slots=True)
class Output:
    """The output of one system.

    Attributes:
        text: the answer; for a closed set, the chosen label.
        score: None if the metric has no value for single samples.
        finish: whether it ended by itself or was truncated.
        right: whether it is right; None if scores are not 0 or 1.
        likelihoods: of each choice, in nats; empty for open answers.
        probabilities: of each choice among all of them; empty for open answers.
        found: the answer extracted from the text, by extractor.
    """

    text: str
    score: float | None
    right: bool | None
    finish: Literal["stop", "length"]
    likelihoods: tuple[float, ...]
    probabilities: tuple[float, ...]
    found: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt of one or more systems.

    Attributes:
        systems: their names.
    """

    systems: tuple[str, ...]
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One example with the outputs of all systems.

    Attributes:
        number: its place among the test examples of its task, from 1.
        prompts: the different prompts of the language models; of baselines if there are no others.
        asked: the end of the prompt on one line, without the common ending of all prompts.
        choices: the closed set of answers, if they have wordings.
        outputs: one per system; None if it has no sample with this id.
        spread: the best minus the worst score.
        right: whether all answers are right; None if scores are not 0 or 1.
        regressed: whether the recommended system scores worse than the cheapest.
    """

    number: int
    id: str
    task: str
    metric: str
    prompts: tuple[Prompt, ...]
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
        noun: the word for a system.
        tasks: the tasks of the examples.
    """

    systems: tuple[str, ...]
    noun: str
    recommended: str | None
    tasks: tuple[str, ...]
    total: int
    rows: tuple[SideBySide, ...]

    @property
    def has_right(self) -> bool:
        """Whether some examples are scored as right or wrong."""
        return any(row.right is not None for row in self.rows)

    @property
    def has_differences(self) -> bool:
        """Whether systems score differently on some examples."""
        return any(row.spread > 0 for row in self.rows)

    def first(self, count: int) -> list[SideBySide]:
        """The rows of the page's first view: the largest differences first, if there are some."""
        if not self.has_differences:
            return list(self.rows[:count])
        telling = [row for row in self.rows if row.spread > 0]
        return sorted(telling, key=lambda row: -row.spread)[:count]

    def as_json(self) -> dict[str, Any]:
        """JSON values for the page's example browser."""
        shown: dict[str, Any] = printable_values(asdict(self))
        return shown


def collect_examples(content: Content) -> Examples:
    """The samples of all systems joined by task and id, in the order of the first system.

    If there are too many, each task gets a fair share, with examples on which systems differ first,
    then wrong ones.
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
    room = MAX_PAGE // max(1, len(picked))
    longest = min(MAX_CHARACTERS, room // (len(systems) + 2))
    longest_prompt = min(MAX_PROMPT, room // max(1, len(systems)))
    return Examples(
        systems=names,
        noun="rung" if content.ladder else "run",
        recommended=recommended,
        tasks=tuple(dict.fromkeys(each.task for each in picked)),
        total=sum(map(len, joined)),
        rows=tuple(each.shown(longest, longest_prompt) for each in picked),
    )


@dataclass(frozen=True, slots=True)
class _Joined:
    """The untruncated samples of one example, one per system."""

    number: int
    task: str
    metric: MetricResult | None
    systems: Sequence[System]
    samples: tuple[SampleRecord | None, ...]
    recommended: int | None
    is_binary: bool
    ending: str

    @property
    def scores(self) -> list[float]:
        """The scores of the systems that have one."""
        found = (self._score(sample) for sample in self.samples if sample)
        return [score for score in found if score is not None]

    @property
    def spread(self) -> float:
        return max(self.scores) - min(self.scores) if self.scores else 0.0

    @property
    def right(self) -> bool | None:
        return all(score == 1 for score in self.scores) if self.is_binary else None

    def shown(self, longest: int, longest_prompt: int) -> SideBySide:
        """The example as shown on the page, with texts of at most so many characters."""
        first = next(sample for sample in self.samples if sample)
        return SideBySide(
            number=self.number,
            id=first.id,
            task=self.task,
            metric=self.metric.name if self.metric else "",
            prompts=self._prompts(longest_prompt),
            asked=prompt_end(first.prompt, self.ending, _EXCERPT),
            references=tuple(_clip(reference, longest) for reference in first.references),
            choices=(choices := _choices(first, longest)),
            outputs=tuple(self._output(sample, longest, len(choices)) for sample in self.samples),
            spread=self.spread,
            right=self.right,
            regressed=self._is_worse(),
        )

    def _prompts(self, longest: int) -> tuple[Prompt, ...]:
        """Each different prompt with the systems that got it."""
        asked: dict[str, list[str]] = {}
        given = [
            (s, sample) for s, sample in zip(self.systems, self.samples, strict=True) if sample
        ]
        models = [(system, sample) for system, sample in given if not system.is_baseline]
        for system, sample in models or given:
            asked.setdefault(sample.prompt, []).append(system.name)
        return tuple(
            Prompt(tuple(names), _messages(text, longest)) for text, names in asked.items()
        )

    def _score(self, sample: SampleRecord) -> float | None:
        return sample.scores.get(self.metric.name) if self.metric else None

    def _output(self, sample: SampleRecord | None, longest: int, num_choices: int) -> Output | None:
        if sample is None:
            return None
        score = self._score(sample)
        scored = sample.likelihoods if len(sample.likelihoods) == num_choices else ()
        return Output(
            text=_clip(sample.prediction, longest),
            score=score,
            right=score == 1 if self.is_binary and score is not None else None,
            finish=sample.finish,
            likelihoods=scored,
            probabilities=softmax(scored),
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
    return [
        _Joined(number, task, metric, systems, samples, recommended, is_binary, ending)
        for number, samples in enumerate(rows, start=1)
    ]


def _picked(rows: Sequence[_Joined], most: int) -> list[_Joined]:
    """The most informative rows, in their original order."""
    telling = sorted(range(len(rows)), key=lambda i: (rows[i].spread == 0, rows[i].right is True))
    return [rows[index] for index in sorted(telling[:most])]


def _tasks(systems: Sequence[System]) -> list[EvaluationRecord]:
    """The first record of each task."""
    records = [measured.record for system in systems for measured in system.measured]
    return list({record.task: record for record in reversed(records)}.values())[::-1]


def _deciding_metric(content: Content, record: EvaluationRecord) -> MetricResult | None:
    """The primary metric of the ladder or the comparison, otherwise the first."""
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


def _messages(prompt: str, longest: int) -> tuple[Message, ...]:
    """The messages of a prompt with at most ``longest`` characters in all."""
    found = messages_of(prompt)
    if len(prompt) <= longest:
        return found
    share = longest // len(found)
    return tuple(Message(each.role, _clip_middle(each.text, share)) for each in found)


def _clip(text: str, longest: int) -> str:
    """The start of a long text, with a note; one sample must not fill the report."""
    more = len(text) - longest
    return text if more <= 0 else f"{text[:longest]} … [{more:,} more characters]"


def _clip_middle(text: str, longest: int) -> str:
    """Start and end of a long message."""
    more = len(text) - longest
    if more <= 0:
        return text
    start = int(longest * _BEGINNING)
    return f"{text[:start]} … [{more:,} characters omitted] … {text[start + more :]}"
