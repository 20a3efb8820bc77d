"""The content of a report, read once from a run directory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from luthier.core.choices import BaselineName
from luthier.core.errors import DataError
from luthier.core.files import read_json, read_lines, read_text
from luthier.records.comparison import RunComparison
from luthier.records.contamination import Contamination
from luthier.records.evaluation import EvaluationRecord, SampleRecord, SuiteRecord
from luthier.records.forgetting import Forgetting
from luthier.records.ladder import LadderRecord, RungRecord
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord

Points = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class LossCurve:
    """Losses by optimizer step, in nats per trained token."""

    training: Points
    validation: Points


@dataclass(frozen=True, slots=True)
class Measured:
    """One task of one system: the record and its samples."""

    record: EvaluationRecord
    samples: tuple[SampleRecord, ...]


@dataclass(frozen=True, slots=True)
class System:
    """A rung of a ladder, a run in a comparison, or the model of a run without a ladder.

    Attributes:
        folder: its run directory.
    """

    name: str
    measured: tuple[Measured, ...]
    suites: tuple[SuiteRecord, ...]
    training: TrainingRecord | None
    forgetting: Forgetting | None
    curve: LossCurve
    folder: RunDirectory

    @property
    def is_baseline(self) -> bool:
        """Whether it needs no language model."""
        return self.name in get_args(BaselineName)


@dataclass(frozen=True, slots=True)
class Content:
    """One run, or several compared runs, as shown in a report.

    Attributes:
        folder: the run directory; None for several runs.
    """

    name: str
    kind: str
    folder: Path | None
    ladder: LadderRecord | None
    systems: tuple[System, ...]
    config: str
    manifest: Mapping[str, Any]
    contamination: Contamination | None = None
    compared: RunComparison | None = None

    @property
    def recommended(self) -> System | None:
        """The recommended rung, or the only system of a run without a ladder."""
        if self.ladder is None:
            return self.systems[0] if self.folder else None
        chosen = self.ladder.recommendation.rung
        return next((system for system in self.systems if system.name == chosen), None)

    @property
    def records(self) -> list[EvaluationRecord]:
        """The evaluation records of all systems, in order."""
        return [record for _, records in self.records_by_system for record in records]

    @property
    def records_by_system(self) -> list[tuple[str, list[EvaluationRecord]]]:
        """The evaluation records of each system, by name."""
        return [(s.name, [measured.record for measured in s.measured]) for s in self.systems]


def run_kind(run: RunDirectory) -> str:
    """``adapt``, ``tune`` or ``evaluate``, inferred from the files present."""
    if run.ladder.exists() or run.rungs():
        return "adapt"
    return "tune" if run.training.exists() or run.metrics.exists() else "evaluate"


def read_content(run: RunDirectory) -> Content:
    """The content of a finished run.

    Raises:
        DataError: a file is missing or invalid, or the run has no results yet.
    """
    run = RunDirectory.open(run.path)
    kind = run_kind(run)
    ladder = _read_ladder(run) if kind == "adapt" else None
    systems = _read_rungs(run, ladder) if ladder else (_read_system(run, run.name),)
    if ladder is None and not any(system.measured or system.training for system in systems):
        raise DataError(
            "this run has no results yet",
            where=str(run.path),
            fix="start it again with the same configuration to finish it",
        )
    path = run.parent_run.manifest  # a rung has no manifest of its own
    manifest = read_json(path)
    if not isinstance(manifest, dict):
        raise DataError("this manifest is not a JSON object", where=str(path))
    return Content(
        name=run.name,
        kind=kind,
        folder=run.path,
        ladder=ladder,
        systems=systems,
        config=read_text(run.config),
        manifest=manifest,
        contamination=Contamination.read(run.contamination) if run.contamination.exists() else None,
    )


def read_compared(runs: Sequence[RunDirectory], comparison: RunComparison) -> Content:
    """The content of compared runs, restricted to the tasks they share.

    Args:
        runs: the runs, in the order of the comparison's names.
        comparison: their comparison.

    Raises:
        DataError: a file is invalid.
    """
    tasks = {task.task for task in comparison.tasks}
    return Content(
        name=" and ".join(comparison.names),
        kind="compare",
        folder=None,
        ladder=None,
        systems=tuple(
            _read_system(run, name, tasks) for run, name in zip(runs, comparison.names, strict=True)
        ),
        config="",
        manifest={},
        compared=comparison,
    )


def read_evaluations(run: RunDirectory) -> Iterator[tuple[Path, EvaluationRecord]]:
    """The evaluation records of a run with their files, by file name.

    Raises:
        DataError: one of them is invalid.
    """
    for path in sorted((run.path / "evaluation").glob("*.json")):
        yield path, EvaluationRecord.read(path)


def compared_task(run: RunDirectory, task: str | None) -> str:
    """The evaluation of a run to use in comparisons.

    Args:
        run: the run.
        task: the task's name; None: the evaluation of the run's own data, or the only one.

    Raises:
        DataError: there is none, or the choice is ambiguous.
    """
    if task is not None:
        return task
    records = [record for _, record in read_evaluations(run)]
    tasks = [record.task for record in records if not record.format] or [r.task for r in records]
    if len(tasks) != 1:
        names = ", ".join(tasks)
        raise DataError(
            f"this run has {len(tasks)} evaluations{': ' if tasks else ''}{names}",
            where=str(run.path),
            fix="choose one with --task"
            if tasks
            else f"evaluate it first: luthier evaluate {run.path}",
        )
    return tasks[0]


def _read_ladder(run: RunDirectory) -> LadderRecord:
    if run.ladder.exists():
        return LadderRecord.read(run.ladder)
    raise DataError(
        "the ladder is not finished: ladder.json is missing",
        where=str(run.path),
        fix="run 'luthier adapt' again with the same configuration to continue",
    )


def _read_rungs(run: RunDirectory, ladder: LadderRecord) -> tuple[System, ...]:
    # Folders are looked up by name, not joined to a path, so a stored name cannot lead outside.
    folders = {folder.name: folder for folder in run.rungs()}
    return tuple(
        _read_rung(run, rung, folders.get(rung.name))
        for rung in ladder.rungs
        if rung.status == "done" or rung.name in folders
    )


def _read_rung(run: RunDirectory, rung: RungRecord, folder: RunDirectory | None) -> System:
    place = str(run.path / "rungs")
    if folder is None:
        raise DataError(f"the folder of the rung {rung.name!r} is missing", where=place)
    system = _read_system(folder, rung.name)
    if rung.status == "done" and not system.measured:
        raise DataError(
            f"the rung {rung.name!r} is finished, but its evaluation is missing",
            where=str(folder.path / "evaluation"),
        )
    return system


def _read_system(run: RunDirectory, name: str, tasks: Set[str] | None = None) -> System:
    """A run with its evaluations of all or of the named tasks."""
    return System(
        name=name,
        measured=tuple(
            Measured(record, _read_samples(path.with_suffix(".samples.jsonl")))
            for path, record in read_evaluations(run)
            if tasks is None or record.task in tasks
        ),
        suites=tuple(SuiteRecord.read(path) for path in run.suites()),
        training=TrainingRecord.read(run.training) if run.training.exists() else None,
        forgetting=Forgetting.read(run.forgetting) if run.forgetting.exists() else None,
        curve=_read_curve(run),
        folder=run,
    )


def _read_samples(path: Path) -> tuple[SampleRecord, ...]:
    samples = []
    for number, line in _numbered_lines(path):
        try:
            samples.append(SampleRecord.model_validate(line))
        except ValidationError as error:
            where = f"{path}:{number}"
            raise DataError(f"this is not a sample: {error}", where=where) from None
    return tuple(samples)


def _read_curve(run: RunDirectory) -> LossCurve:
    validations = (
        (number, line)
        for number, line in _numbered_lines(run.events)
        if isinstance(line, dict) and line.get("event") == "validation"
    )
    return LossCurve(
        training=_losses(run.metrics, _numbered_lines(run.metrics)),
        validation=_losses(run.events, validations),
    )


def _losses(path: Path, lines: Iterator[tuple[int, Any]]) -> Points:
    """Step and loss of each line. A resumed run repeats steps; the last value counts."""
    points: dict[int, float] = {}
    for number, line in lines:
        try:
            step, loss = int(line["step"]), line["loss"]
            if loss is not None and math.isfinite(loss):
                points[step] = float(loss)
        except (KeyError, TypeError, ValueError):
            problem = "this line has no step and loss"
            raise DataError(problem, where=f"{path}:{number}") from None
    return tuple(sorted(points.items()))


def _numbered_lines(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        yield from enumerate(read_lines(path), start=1)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"this file is not valid UTF-8: {error}", where=str(path)) from None
