"""Verification of a run's stored figures before a report shows them.

Metrics follow from samples; the ladder from metrics and samples; a training's losses from its log
lines; forgetting from the losses on general text; a judge's win rate from its pairs. Times, memory
and sizes cannot be recomputed and are shown as stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from luthier.config.stored import described_config
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.files import read_lines
from luthier.core.untrusted import reading_foreign
from luthier.evaluation import (
    Evaluation,
    compare_rungs,
    load_evaluation,
    one_sided_answers,
    unusable_answers,
)
from luthier.evaluation.asking import load_task
from luthier.evaluation.judge import WinRate, tally
from luthier.evaluation.runner import measure
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.store import read_samples, stored_resampling
from luthier.evaluation.verified import check_metrics, comparable, metric_values, require_alike
from luthier.inference import TextLoss
from luthier.ladder.recommendation import recommend
from luthier.ladder.rungs import rungs_of
from luthier.records.base import Record
from luthier.records.comparison import Judgement
from luthier.records.contamination import Contamination
from luthier.records.evaluation import SuiteRecord
from luthier.records.forgetting import Forgetting
from luthier.records.ladder import LadderRecord, RungRecord, StoredRung
from luthier.records.result_cache import cached_values
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord
from luthier.reports.content import read_evaluations
from luthier.tasks.load import task_names
from luthier.tasks.suite import Suite, score_suite

_LOSS = TypeAdapter(TextLoss)
_TRAIN_AGAIN = "the figure or its source was changed: train again, or restore the file"
_RESUME = (
    "the figure or its source was changed: delete the rung.json of that rung, and 'luthier "
    "resume' recomputes it from the stored answers"
)
_UNCHECKED = "the stored figures cannot be recomputed"
_MOST = 1e15
"""Upper bound of losses and token counts in a line, so that sums stay finite."""
_JUDGE_AGAIN = "the figure or its source was changed: judge again; cached verdicts are reused"
_SCORES = ("value", "low", "high", "n")


def verify_run(run: RunDirectory, console: Console) -> tuple[str, ...]:
    """Check all figures that a report shows of a run and its rungs.

    Args:
        run: the run.
        console: shows progress.

    Returns:
        Notes on figures that could not be checked, one sentence each.

    Raises:
        DataError: a figure differs from its recomputed value; names the first one with both values.
    """
    notes: list[str] = []
    parts = (run, *run.rungs())
    found = [(part, path.stem) for part in parts for path, _ in read_evaluations(part)]
    with console.progress("checking stored figures", len(found)) as advance:
        for part, task in found:
            with reading_foreign(_UNCHECKED, str(part.evaluation(task))):
                load_evaluation(part, task)
            advance()
    for part in parts:
        with reading_foreign(_UNCHECKED, str(part.path)):
            notes += _check_suites(part)
            for path in part.judgements():
                _check_judgement(path)
            if part.training.is_file():
                notes += check_training(part, TrainingRecord.read(part.training))
            if part.forgetting.is_file():
                notes += _check_forgetting(part, Forgetting.read(part.forgetting))
    if run.ladder.is_file():
        with reading_foreign(_UNCHECKED, str(run.ladder)):
            _check_ladder(run, LadderRecord.read(run.ladder))
    return tuple(notes)


def check_rung(path: Path, rung: RungRecord, folder: RunDirectory, task: str) -> Evaluation | None:
    """The evaluation of a rung, after checking its record against the files in its folder.

    Args:
        path: the file with the record.
        rung: the record.
        folder: the rung's run directory.
        task: the task of the rung's evaluation.

    Returns:
        The evaluation; None if the rung was not measured.

    Raises:
        DataError: they differ, or a part is missing.
    """
    evaluation = None
    if rung.metric is not None:
        evaluation = load_evaluation(folder, task)
        resampling, samples = stored_resampling(folder), evaluation.samples
        source = folder.samples(task)
        for field in ("metric", "metrics"):
            own = rung.metrics if field == "metrics" else (rung.metric,)
            check_metrics(f"{rung.name}: {field}", own, samples, resampling, path, source)
        clean = next(iter(evaluation.record.clean), None)
        names = ("clean", "unusable", "one_sided", "truncated")
        stored = {name: getattr(rung, name) for name in names}
        found = {
            "clean": clean,
            "unusable": "" if rung.is_baseline else unusable_answers(samples),
            "one_sided": "" if rung.is_baseline else one_sided_answers(samples),
            "truncated": evaluation.record.truncated_outputs,
        }
        _require(rung.name, stored, found, path)
    for name, kind in (("training", TrainingRecord), ("forgetting", Forgetting)):
        told: Record | None = getattr(rung, name)
        if told is not None:
            beside: Record = kind.read(getattr(folder, name))
            _require(f"{rung.name}: {name}", told.model_dump(), beside.model_dump(), path)
    same = ("trained_parameters", "artifact_bytes")
    stored = {name: getattr(rung, name) for name in same}
    _require(rung.name, stored, {name: getattr(rung.training, name, 0) for name in same}, path)
    return evaluation


def check_training(run: RunDirectory, training: TrainingRecord) -> list[str]:
    """Check a training's losses and tokens against its log lines.

    Returns:
        Notes on figures without log lines, one sentence each.

    Raises:
        DataError: they differ.
    """
    notes = []
    found = [
        _numbers(line, run.metrics, "step", "loss", "tokens") for line in read_lines(run.metrics)
    ]
    lines = [line for line in found if line["step"] <= training.steps]
    if len(lines) < len(found):
        notes.append(
            f"{run.path}: its extended training is not finished: continue "
            f"with 'luthier resume {run.path}'"
        )
    if lines:
        stored = {
            "steps": training.steps,
            "first_loss": training.first_loss,
            "last_loss": training.last_loss,
            "processed_tokens": training.processed_tokens,
        }
        computed = {
            "steps": lines[-1]["step"],
            "first_loss": lines[0]["loss"],
            "last_loss": lines[-1]["loss"],
            "processed_tokens": sum(int(line["tokens"]) for line in lines),
        }
        require_alike("training", stored, computed, run.training, _TRAIN_AGAIN)
    elif training.steps:
        notes.append(f"{run.metrics}: it has no steps, so the training losses are shown as stored")
    losses = {
        int(line["step"]): _numbers(line, run.events, "loss")["loss"]
        for line in read_lines(run.events)
        if isinstance(line, dict) and line.get("event") == "validation"
    }
    if training.best_validation_loss is None:
        return notes
    if losses:
        best = {"best_validation_loss": training.best_validation_loss}
        measured = {"best_validation_loss": losses.get(training.best_step)}
        require_alike("training", best, measured, run.training, _TRAIN_AGAIN)
    else:
        notes.append(f"{run.events}: it has no validations, so the best loss is shown as stored")
    return notes


def _check_ladder(run: RunDirectory, ladder: LadderRecord) -> None:
    """Check the ladder's settings, table, gains and recommendation."""
    config = described_config(run)
    asked = config.adapt
    settings = {"alpha": asked.alpha, "target": asked.target, "budget_seconds": asked.budget}
    _require("ladder", {name: getattr(ladder, name) for name in settings}, settings, run.ladder)
    if ladder.contamination:
        kept = Contamination.read(run.contamination).model_dump()
        _require("contamination", ladder.contamination.model_dump(), kept, run.ladder)
    folders = {folder.name: folder for folder in run.rungs()}
    names = {"rungs": [rung.name for rung in ladder.rungs]}
    _require("ladder", names, {"rungs": [rung.name for rung in rungs_of(config)]}, run.ladder)
    evaluations: dict[str, Evaluation] = {}
    for rung in ladder.rungs:
        _check_finished(run, rung)
        if rung.metric is None:
            continue
        if rung.name not in folders:
            raise DataError(f"the folder of the rung {rung.name!r} is missing", where=str(run.path))
        found = check_rung(run.ladder, rung, folders[rung.name], ladder.task)
        if found:
            evaluations[rung.name] = found
            asked_of = {"examples.test": len(found.samples)}
            _require("ladder", {"examples.test": ladder.examples.get("test")}, asked_of, run.ladder)
    unusable = frozenset(rung.name for rung in ladder.rungs if rung.unusable)
    resampling = stored_resampling(run)
    gains = compare_rungs(ladder.metric, evaluations, resampling, ladder.alpha, unusable)
    for rung in ladder.rungs:
        gain = gains.get(rung.name)
        if rung.gain is None or gain is None:
            _require(rung.name, {"gain": rung.gain}, {"gain": gain}, run.ladder)
        else:
            where = f"{rung.name}: gain"
            _require(where, rung.gain.model_dump(), gain.model_dump(), run.ladder)
    answer = recommend(ladder.rungs, ladder.target, ladder.alpha, ladder.contamination)
    stored = ladder.recommendation.model_dump()
    _require("recommendation", stored, answer.model_dump(), run.ladder)


def _check_finished(run: RunDirectory, rung: RungRecord) -> None:
    """Check a row of the ladder against the rung's own record, if the rung is finished."""
    path = run.rung_record(rung.name)
    if path.is_file():
        own = StoredRung.read(path).record.model_dump(exclude={"gain"})
        _require(rung.name, rung.model_dump(exclude={"gain"}), own, run.ladder)


def _check_suites(run: RunDirectory) -> list[str]:
    notes = []
    records = {record.task: record for _, record in read_evaluations(run)}
    for path in run.suites():
        stored = SuiteRecord.read(path)
        if missing := [task for task in stored.tasks if task not in records]:
            raise DataError(
                f"the score of {stored.suite!r} includes {missing[0]!r}, which was not measured",
                where=str(path),
            )
        suite = load_task(stored.suite) if stored.suite in task_names() else None
        if not isinstance(suite, Suite):
            notes.append(f"{path}: the score of a custom suite is shown as stored")
            continue
        with reading_foreign(f"{_UNCHECKED}: {stored.suite}", str(path)):
            found = score_suite(suite, [records[task] for task in stored.tasks]).scores
        names = [score.name for score in found]
        require_alike("scores", {"names": [s.name for s in stored.scores]}, {"names": names}, path)
        for one, other in zip(stored.scores, found, strict=True):
            values = [{name: getattr(score, name) for name in _SCORES} for score in (one, other)]
            require_alike(one.name, values[0], values[1], path)
    return notes


def _check_judgement(path: Path) -> None:
    """Check the counts of a judgement against its pairs."""
    stored, beside = Judgement.read(path), path.with_suffix(".pairs.jsonl")
    pairs, rate = read_samples(beside), stored.win_rate
    if not pairs:
        raise DataError("the judged pairs are missing", where=str(beside))
    drawn = Resampling(stored.seed or 0, stored.resamples or 1, rate.confidence)
    try:
        counts = tally(pairs)
        found = measure(WinRate(stored.judge, stored.template), pairs, drawn)
    except KeyError as error:
        raise DataError(f"a pair has no verdict: {error}", where=str(beside)) from None
    told = {name: getattr(stored, name) for name in counts}
    require_alike("judgement", told, counts, path, _JUDGE_AGAIN)
    # Earlier versions did not store the seed of the interval.
    names = tuple(comparable(rate)) if stored.resamples else ("value", "n", "signature")
    rates = {name: comparable(rate)[name] for name in names}
    require_alike("win_rate", rates, metric_values(found), path, _JUDGE_AGAIN)


def _check_forgetting(run: RunDirectory, stored: Forgetting) -> list[str]:
    """Check a forgetting record for consistency, and against the losses if available."""
    path = run.forgetting
    rise = {"value": stored.value, "in its interval": True}
    inside = stored.low <= stored.value <= stored.high
    found = {"value": stored.after - stored.before, "in its interval": inside}
    require_alike("forgetting", rise, found, path, _TRAIN_AGAIN)
    notes = []
    for field, place in (("after", run), ("before", run.parent_run)):
        losses = _losses(place.general_losses)
        if len(losses) == stored.n:  # losses of one model only
            tokens = sum(loss.tokens for loss in losses)
            if min(loss.tokens for loss in losses) < 1:
                raise DataError("a loss covers no tokens", where=str(place.general_losses))
            told = {field: getattr(stored, field), "tokens": stored.tokens}
            nats = {field: sum(loss.nats for loss in losses) / tokens, "tokens": tokens}
            require_alike("forgetting", told, nats, path, _TRAIN_AGAIN)
        else:
            notes.append(
                f"{path}: the loss {field} the training is shown as stored, because the losses of "
                "its texts are not in the run"
            )
    return notes


def _losses(path: Path) -> list[TextLoss]:
    try:
        return [_LOSS.validate_python(value["result"]) for value in cached_values(path)]
    except (KeyError, TypeError, ValidationError) as error:
        raise DataError(f"this is not a loss on general text: {error}", where=str(path)) from None


def _numbers(line: Any, path: Path, *names: str) -> dict[str, float]:
    try:
        numbers = {name: float(line[name]) for name in names}
    except (KeyError, TypeError, ValueError):
        raise DataError(f"a line has no {' and '.join(names)}", where=str(path)) from None
    if not all(abs(number) <= _MOST for number in numbers.values()):
        raise DataError("a line has a number that is not finite or too large", where=str(path))
    return numbers


def _require(field: str, stored: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> None:
    require_alike(field, stored, found, path, _RESUME)
