"""The facts of a report: how results were measured, and how models were trained."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from luthier.core.names import listed
from luthier.core.units import format_bytes, format_count, format_duration
from luthier.records.contamination import Contamination
from luthier.records.evaluation import EvaluationRecord, MetricResult, ModelStamp
from luthier.records.ladder import LadderRecord
from luthier.records.training import TrainingRecord
from luthier.reports.benchmarks import label_lines
from luthier.reports.content import Content
from luthier.reports.format import format_percent, format_value
from luthier.reports.rows import detectable_text

_MANIFEST_DEPTH = 3
_CONTAMINATED_SHOWN = 4
_VALUES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class FactGroup:
    """A group of facts, each a label and a value."""

    title: str
    facts: tuple[tuple[str, str], ...]


def measurement_facts(content: Content) -> list[FactGroup]:
    """How the run was measured, including versions."""
    records = content.records
    first = records[0] if records else None
    groups = []
    if first:
        groups.append(FactGroup("Task and prompt", tuple(_task_facts(content, first))))
        groups.append(FactGroup("Metric and test", tuple(_metric_facts(content, first))))
        models = {record.model.model_dump_json(): record.model for record in records}
        groups += [FactGroup("Model", tuple(_model_facts(model))) for model in models.values()]
        groups.append(FactGroup("Evaluation", tuple(_evaluation_facts(content, records))))
    return groups


def manifest_facts(content: Content) -> FactGroup | None:
    """Versions, hardware, seeds and hashes of a run as stored; None for several runs."""
    if not content.manifest:
        return None
    return FactGroup("Manifest", tuple(_flatten(content.manifest)))


def training_facts(training: TrainingRecord) -> FactGroup:
    """The result and cost of a training."""
    share = training.trained_parameters / max(training.total_parameters, 1)
    loss = training.best_validation_loss
    step = f"at step {training.best_step:,}"
    best = "not measured" if loss is None else f"{format_value(loss)} {step}"
    first, last = format_value(training.first_loss), format_value(training.last_loss)
    facts = (
        ("Method", training.method),
        ("Trained", f"{format_count(training.trained_parameters)} parameters, {share:.3%}"),
        ("Steps", f"{training.steps:,} of {training.planned_steps:,} ({training.stopped})"),
        ("Examples", f"{training.examples:,}{_replayed(training)}"),
        ("Epochs", f"{training.epochs:.3g}{_batches(training)}"),
        ("Tokens", f"{training.processed_tokens:,} processed, {training.trained_tokens:,} trained"),
        ("Best validation loss", best),
        ("Training loss", f"{first} to {last}"),
        ("Time", format_duration(training.seconds)),
        ("Peak memory", format_bytes(training.peak_memory_bytes)),
        ("Artifact", format_bytes(training.artifact_bytes)),
    )
    return FactGroup(training.method, facts)


def _batches(training: TrainingRecord) -> str:
    return f", in batches of {training.batch_size:,}" if training.batch_size else ""


def _replayed(training: TrainingRecord) -> str:
    general = training.replayed
    return f", and {general:,} general texts in each epoch" if general else ""


def _trained_on(ladder: LadderRecord) -> str:
    """The number of training examples of the rungs, if some were left out."""
    left_out = ladder.left_out_examples
    if not left_out:
        return ""
    trained = ladder.examples["train"] - left_out
    return f"; trained on {trained:,}, since {left_out:,} were too long or had nothing to train"


def _task_facts(content: Content, record: EvaluationRecord) -> Iterator[tuple[str, str]]:
    records = content.records
    yield "Task", _joined(each.task for each in records)
    yield "Split", record.split
    if content.contamination:
        yield "Contamination", content.contamination.sentence
    if content.contamination and content.contamination.examples:
        yield "Contaminated examples", _contaminated(content.contamination)
    if content.ladder:
        counts = content.ladder.examples.items()
        shown = (f"{split} {count:,}" for split, count in counts)
        yield "Examples", ", ".join(shown) + _trained_on(content.ladder)
    yield "Template", _joined(each.template.id for each in records)
    yield "Template hash", _joined(each.template.hash for each in records)
    yield "Shots", _joined(str(each.shots) for each in records)
    if words := label_lines([record for record in records if record.labels]):
        yield "Words of the labels", "; ".join(words)
    yield "Chat template", _joined("yes" if each.chat_template else "no" for each in records)


def _contaminated(found: Contamination) -> str:
    """The first contaminated examples by id, with the overlap and its source."""
    shown = [
        f"{each.id} ({each.shared} of {each.runs} runs, in {each.where})"
        for each in found.examples[:_CONTAMINATED_SHOWN]
    ]
    left = len(found.examples) - len(shown)
    return "; ".join([*shown, f"and {left} more in contamination.json"] if left else shown)


def _metric_facts(content: Content, record: EvaluationRecord) -> Iterator[tuple[str, str]]:
    for metric in _unique_metrics(content.records):
        direction = "higher" if metric.higher_is_better else "lower"
        yield metric.name, f"{metric.signature}; {direction} is better"
    confidences = {metric.confidence for metric in record.metrics}
    yield "Intervals", _joined(format_percent(level) for level in sorted(confidences))
    if not content.ladder:
        return
    gains = [rung.gain for rung in content.ladder.rungs if rung.gain]
    if gains:
        yield "Test", f"{_joined(gain.test for gain in gains)}; step-down over all pairs of rungs"
        yield "Paired examples", _joined(f"{gain.n:,}" for gain in gains)
    if least := max((gain.detectable or 0.0 for gain in gains), default=0.0):
        yield "What they show", detectable_text(gains[0].n, content.ladder.metric, least)
    yield "Alpha", f"{content.ladder.alpha:g}"
    if content.ladder.target is not None:
        yield "Target", f"{content.ladder.metric} {content.ladder.target:g}"


def _model_facts(model: ModelStamp) -> Iterator[tuple[str, str]]:
    yield "Model", model.id
    yield "Revision", model.revision or "not stated"
    if model.endpoint:
        yield "Server", f"{model.endpoint}; its weights are unknown"
        return
    yield "Architecture", model.architecture
    yield "Parameters", f"{model.parameters:,}"
    yield "Weights", model.dtype


def _evaluation_facts(
    content: Content, records: list[EvaluationRecord]
) -> Iterator[tuple[str, str]]:
    truncated = sum(record.truncated_outputs for record in records)
    outputs = sum(len(each.samples) for system in content.systems for each in system.measured)
    yield "Prompt tokens", f"{sum(record.prompt_tokens for record in records):,}"
    yield "Generated tokens", f"{sum(record.generated_tokens for record in records):,}"
    yield "Cut at the length limit", f"{truncated:,} of {outputs:,} outputs"
    yield "Time to evaluate", format_duration(sum(record.seconds for record in records))
    if content.ladder:
        yield "Time in all", format_duration(content.ladder.seconds)
        budget = content.ladder.budget_seconds
        yield "Budget", "none" if budget is None else format_duration(budget)
    versions = {name: version for record in records for name, version in record.versions.items()}
    yield "Versions", ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def _unique_metrics(records: Iterable[EvaluationRecord]) -> list[MetricResult]:
    return list({metric.name: metric for record in records for metric in record.metrics}.values())


def _joined(values: Iterable[str]) -> str:
    """Distinct values in order of appearance, as one text; of many, the first."""
    return listed(dict.fromkeys(values), _VALUES_SHOWN)


def _flatten(
    values: Mapping[str, Any], above: str = "", depth: int = 1
) -> Iterator[tuple[str, str]]:
    """Nested mappings with dotted names; values deeper than `_MANIFEST_DEPTH` stay JSON."""
    for key, value in values.items():
        name = f"{above}{key}"
        if isinstance(value, dict) and depth < _MANIFEST_DEPTH:
            yield from _flatten(value, f"{name}.", depth + 1)
        else:
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
