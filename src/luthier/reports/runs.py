"""Summaries of the runs in a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from luthier.config.stored import described_config
from luthier.core.errors import DataError, LuthierError
from luthier.core.names import listed
from luthier.records.evaluation import MetricResult, SuiteRecord
from luthier.records.ladder import LadderRecord
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord
from luthier.reports.content import read_evaluations, run_kind
from luthier.reports.format import format_estimate, format_value


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in a list of runs.

    Attributes:
        kind: ``adapt``, ``tune`` or ``evaluate``.
        status: ``done``, ``stopped`` (out of time), ``unfinished`` or ``broken``.
        result: the main figure, or the error of a broken run.
        created: when the configuration was written, in local time.
    """

    name: str
    kind: str
    model: str
    task: str
    status: str
    result: str
    created: datetime
    path: Path

    @property
    def as_stored(self) -> tuple[str, ...]:
        """The fields that were not recomputed; the report of a run checks them."""
        shows_figure = self.result and self.status != "broken"
        return ("result",) if shows_figure else ()


def collect_runs(output: Path) -> list[RunSummary]:
    """The runs in a folder, newest first. Broken runs are listed and raise no error.

    Raises:
        DataError: the folder cannot be read.
    """
    if not output.exists():
        return []
    try:
        folders = [path for path in output.iterdir() if (path / "config.yaml").is_file()]
    except OSError as error:
        raise DataError(f"cannot read this folder: {error}", where=str(output)) from None
    runs = [_summary(RunDirectory(folder)) for folder in folders]
    return sorted(runs, key=lambda run: (-run.created.timestamp(), run.name))


def _summary(run: RunDirectory) -> RunSummary:
    kind = model = task = "?"
    try:
        RunDirectory.open(run.path)
        kind = run_kind(run)
        config = described_config(run)
        model, task = config.model.id, config.data.source
        status, result = _OUTCOMES[kind](run)
        task = _measured_tasks(run) or task if kind == "evaluate" else task
    except (LuthierError, OSError, UnicodeError) as error:
        status, result = "broken", " ".join(str(error).split())
    created = datetime.fromtimestamp(run.config.stat().st_mtime, tz=UTC).astimezone()
    return RunSummary(
        name=run.name,
        kind=kind,
        model=model,
        task=task,
        status=status,
        result=result,
        created=created,
        path=run.path,
    )


def _adapt_outcome(run: RunDirectory) -> tuple[str, str]:
    if not run.ladder.exists():
        return "unfinished", ""
    ladder = LadderRecord.read(run.ladder)
    chosen = [rung for rung in ladder.rungs if rung.name == ladder.recommendation.rung]
    if not chosen:
        return "done", "no rung recommended"
    metric = chosen[0].metric
    return "done", f"{chosen[0].name}: {_metric_text(metric)}" if metric else chosen[0].name


def _tune_outcome(run: RunDirectory) -> tuple[str, str]:
    if not run.training.exists():
        return "unfinished", ""
    training = TrainingRecord.read(run.training)
    status = "stopped" if training.stopped == "time" else "done"
    return status, _main_metric(run) or f"loss {format_value(training.last_loss)}"


def _evaluate_outcome(run: RunDirectory) -> tuple[str, str]:
    result = _main_metric(run)
    return ("done", result) if result else ("unfinished", "")


def _measured_tasks(run: RunDirectory) -> str:
    """The names of the suites of a run, otherwise of the tasks that it was measured on."""
    names = [SuiteRecord.read(path).suite for path in run.suites()]
    names = names or [record.task for _, record in read_evaluations(run)]
    return listed(names, 2)


def _main_metric(run: RunDirectory) -> str:
    """The score of the first suite, otherwise the first metric of the first task."""
    for path in run.suites():
        suite = SuiteRecord.read(path)
        return f"{suite.suite} {format_estimate(suite.scores[0])}"
    for _, record in read_evaluations(run):
        if record.metrics:
            return _metric_text(record.metrics[0])
    return ""


def _metric_text(metric: MetricResult) -> str:
    return f"{metric.name} {format_estimate(metric)}"


_OUTCOMES: dict[str, Callable[[RunDirectory], tuple[str, str]]] = {
    "adapt": _adapt_outcome,
    "tune": _tune_outcome,
    "evaluate": _evaluate_outcome,
}
