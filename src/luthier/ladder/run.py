"""Climbing the ladder: every rung is planned, run and measured on the same held-out examples."""

from __future__ import annotations

from luthier.context.base_model import BaseModel
from luthier.context.fingerprints import evaluation_fingerprint
from luthier.context.run_context import RunContext
from luthier.core.console import Console
from luthier.core.errors import DivergedError, ResourceError
from luthier.core.seeds import fingerprint
from luthier.core.units import format_duration
from luthier.evaluation import Evaluation, Resampling, compare_rungs, load_evaluation
from luthier.ladder.budget import TimeBudget
from luthier.ladder.measure import RungMeasurer, inputs_of, measure_rung
from luthier.ladder.recommendation import is_at_target, recommend
from luthier.ladder.rungs import BaselineRung, Rung, rungs_of
from luthier.ladder.verify import check_rung
from luthier.preflight.power import notes_on_power
from luthier.records.ladder import LadderRecord, RungRecord, StoredRung
from luthier.records.run_directory import RunDirectory
from luthier.reports.format import format_interval
from luthier.workflows.contamination import check_contamination
from luthier.workflows.tune import may_go_on


def run_ladder(context: RunContext, run: RunDirectory, console: Console) -> LadderRecord:
    """Run every unfinished rung, compare all, and recommend one.

    Raises:
        PreemptedError: a signal requested a stop; running it again continues.
        ResourceError: the run directory is not writable.
        UsageError: a rung has a checkpoint of another configuration.
    """
    adapt, rungs = context.config.adapt, rungs_of(context.config)
    stored = {rung.name: _stored(context, rung, run) for rung in rungs}
    budget = TimeBudget(adapt.budget, _spent(run, [s.record for s in stored.values() if s]))
    found = check_contamination(context, run, console)
    measurer = RungMeasurer(context, run, BaseModel(context.weights()), budget, console, found)
    records: list[RungRecord] = []
    for note in notes_on_power(context):
        console.say(note)
    for number, rung in enumerate(rungs, start=1):
        console.heading(f"[{number}/{len(rungs)}] {rung.name}")
        earlier = stored[rung.name]
        limit = budget.training_time(context.config.train.max_time)
        reached = any(is_at_target(record, adapt.target) for record in records)
        stops = reached and adapt.stop_at_target
        refusal = "a cheaper rung has reached the target" if stops else budget.refusal()
        if earlier and (refusal or not _may_go_on(earlier.record, limit)):
            console.say("  already measured; not repeated")
            records.append(earlier.record)
        elif refusal:
            records.append(_skipped(rung, refusal))
        else:
            records.append(_attempt(measurer, rung))
        if records[-1].metric is None:  # an older finished record would contradict the table
            run.forget_rung(rung.name)
        budget.note_evaluation(records[-1].evaluate_seconds)
        console.say(f"  {_outcome(records[-1])}")
    ladder = _ladder(context, run, records, measurer, budget)
    ladder.write(run.ladder)
    return ladder


def _attempt(measurer: RungMeasurer, rung: Rung) -> RungRecord:
    """The record of a rung; errors that do not affect other rungs become its record."""
    try:
        record = measure_rung(rung, measurer)
    except ResourceError as error:
        if error.where:  # an unwritable file would make the other rungs fail too
            raise
        return _skipped(rung, f"{error.problem} ({error.fix})")
    except DivergedError as error:
        return RungRecord(name=rung.name, status="failed", reason=error.problem)
    mark = StoredRung(fingerprint=_fingerprint(measurer.context, rung), record=record)
    mark.write(measurer.run.rung_record(rung.name))
    return record


def _stored(context: RunContext, rung: Rung, run: RunDirectory) -> StoredRung | None:
    """The finished rung in the run directory, if its inputs are the same.

    Raises:
        DataError: the stored record differs from the figures recomputed from the files beside it.
    """
    path = run.rung_record(rung.name)
    if not path.is_file():
        return None
    stored = StoredRung.read(path)
    if stored.fingerprint != _fingerprint(context, rung):
        return None
    check_rung(path, stored.record, run.rung(rung.name), context.dataset.task)
    return stored


def _may_go_on(record: RungRecord, max_time: float | None) -> bool:
    """Whether a rung's training ran out of time and can now continue."""
    return record.training is not None and may_go_on(record.training, max_time)


def _spent(run: RunDirectory, done: list[RungRecord]) -> float:
    """Seconds spent before: in total, or for an interrupted run, in its rungs."""
    seconds = sum(record.train_seconds + record.evaluate_seconds for record in done)
    return max(seconds, LadderRecord.read(run.ladder).seconds) if run.ladder.is_file() else seconds


def _fingerprint(context: RunContext, rung: Rung) -> str:
    return fingerprint(evaluation_fingerprint(context), *inputs_of(rung, context))


def _skipped(rung: Rung, reason: str) -> RungRecord:
    return RungRecord(name=rung.name, status="skipped", reason=reason)


def _outcome(record: RungRecord) -> str:
    """The outcome of a rung in one line."""
    if record.metric is None:
        return f"{record.status}: {record.reason}"
    metric = record.metric
    seconds = format_duration(record.train_seconds + record.evaluate_seconds)
    note = f" · {record.unusable}" if record.unusable else ""
    return f"{metric.name} {metric.value:.3f} {format_interval(metric)} · {seconds}{note}"


def _ladder(
    context: RunContext,
    run: RunDirectory,
    records: list[RungRecord],
    measurer: RungMeasurer,
    budget: TimeBudget,
) -> LadderRecord:
    """The table with gains, tested over all pairs of rungs, and the recommendation."""
    config, dataset, metric = context.config, context.dataset, context.metrics[0]
    evaluations: dict[str, Evaluation] = {
        r.name: load_evaluation(run.rung(r.name), dataset.task) for r in records if r.metric
    }
    resampling = Resampling.of(config.evaluate, config.seed)
    unusable = frozenset(record.name for record in records if record.unusable)
    gains = compare_rungs(metric, evaluations, resampling, config.adapt.alpha, unusable)
    rungs = [record.model_copy(update={"gain": gains.get(record.name)}) for record in records]
    found = measurer.contamination
    recommendation = recommend(rungs, config.adapt.target, config.adapt.alpha, found)
    baselines = {rung.name for rung in rungs_of(config) if isinstance(rung, BaselineRung)}
    first = next((evaluations[name] for name in evaluations if name not in baselines), None)
    return LadderRecord(
        task=dataset.task,
        split="test",
        metric=metric,
        target=config.adapt.target,
        alpha=config.adapt.alpha,
        examples={
            "train": len(dataset.train),
            "validation": len(dataset.validation),
            "test": len(dataset.test),
        },
        model=first.record.model if first else measurer.base.get().stamp,
        template=context.template,
        rungs=tuple(rungs),
        recommendation=recommendation,
        contamination=found,
        seconds=budget.spent,
        budget_seconds=config.adapt.budget,
    )
