"""Examples side by side: what each system made of the same input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from luthier.core.records import EvaluationRecord, MetricResult, SampleRecord
from luthier.report.content import Content, System

MAX_EXAMPLES = 500
MAX_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class Output:
    """What one system answered; the score is None where the metric has no value for one sample."""

    text: str
    score: float | None
    finish: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One example with the outputs of all systems.

    Attributes:
        prompt: as the first (cheapest) system saw it.
        outputs: one a system, None where it has no sample of this id.
        spread: the best score less the worst one.
        regressed: whether the recommended system scores worse than the cheapest.
    """

    id: str
    task: str
    metric: str
    prompt: str
    references: tuple[str, ...]
    outputs: tuple[Output | None, ...]
    spread: float
    regressed: bool


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of a report, at most `MAX_EXAMPLES` of ``total``."""

    systems: tuple[str, ...]
    recommended: str | None
    total: int
    rows: tuple[SideBySide, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the page's example browser."""
        return asdict(self)


def collect_examples(content: Content) -> Examples:
    """Join the samples of all systems by task and id, in the order of the first system."""
    systems = [system for system in content.systems if any(m.samples for m in system.measured)]
    recommended = content.ladder.recommendation.rung if content.ladder else None
    rows: list[SideBySide] = []
    total = 0
    for record in _tasks(systems):
        metric = _deciding_metric(content, record)
        columns = [_samples_by_id(system, record.task) for system in systems]
        ids = list(dict.fromkeys(id_ for column in columns for id_ in column))
        total += len(ids)
        rows += [
            _side_by_side(id_, record.task, metric, columns, _index(systems, recommended))
            for id_ in ids[: MAX_EXAMPLES - len(rows)]
        ]
    names = tuple(system.name for system in systems)
    return Examples(names, recommended, total, tuple(rows))


def _tasks(systems: list[System]) -> list[EvaluationRecord]:
    """A record for each task, the first there is."""
    records = [measured.record for system in systems for measured in system.measured]
    return list({record.task: record for record in reversed(records)}.values())[::-1]


def _deciding_metric(content: Content, record: EvaluationRecord) -> MetricResult | None:
    by_name = {metric.name: metric for metric in record.metrics}
    first = record.metrics[0] if record.metrics else None
    return by_name.get(content.ladder.metric, first) if content.ladder else first


def _samples_by_id(system: System, task: str) -> dict[str, SampleRecord]:
    return {
        sample.id: sample
        for measured in system.measured
        if measured.record.task == task
        for sample in measured.samples
    }


def _index(systems: list[System], name: str | None) -> int | None:
    return next((index for index, system in enumerate(systems) if system.name == name), None)


def _side_by_side(
    id_: str,
    task: str,
    metric: MetricResult | None,
    columns: list[dict[str, SampleRecord]],
    recommended: int | None,
) -> SideBySide:
    samples = [column.get(id_) for column in columns]
    first = next(sample for sample in samples if sample is not None)
    outputs = tuple(_output(sample, metric) for sample in samples)
    scores = [output.score for output in outputs if output and output.score is not None]
    return SideBySide(
        id=id_,
        task=task,
        metric=metric.name if metric else "",
        prompt=_clip(first.prompt),
        references=tuple(_clip(reference) for reference in first.references),
        outputs=outputs,
        spread=max(scores) - min(scores) if scores else 0.0,
        regressed=_is_worse(outputs, recommended, metric),
    )


def _output(sample: SampleRecord | None, metric: MetricResult | None) -> Output | None:
    if sample is None:
        return None
    scores: Mapping[str, float] = sample.scores
    score = scores.get(metric.name) if metric else None
    return Output(_clip(sample.prediction), score, sample.finish)


def _is_worse(
    outputs: tuple[Output | None, ...], recommended: int | None, metric: MetricResult | None
) -> bool:
    chosen = outputs[recommended] if recommended is not None else None
    cheapest = outputs[0]
    if metric is None or chosen is None or cheapest is None:
        return False
    if chosen.score is None or cheapest.score is None:
        return False
    rise = chosen.score - cheapest.score
    return rise < 0 if metric.higher_is_better else rise > 0


def _clip(text: str) -> str:
    """The beginning of a very long text, saying so: one sample must not fill the report."""
    more = len(text) - MAX_CHARACTERS
    return text if more <= 0 else f"{text[:MAX_CHARACTERS]} … [{more:,} more characters]"
