"""Return values of the stages in Python; everything else is in the run directory.

Each shows itself in a notebook, and those that are tables convert to a pandas DataFrame.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.core.html import Displayed
from luthier.core.tables import Table
from luthier.core.units import counted, format_bytes, format_count, format_duration
from luthier.data.draft_task import TaskDraft
from luthier.records.comparison import RunComparison, SampleSize
from luthier.records.dry_run import DryRun
from luthier.records.evaluation import EvaluationRecord, SampleRecord, SuiteRecord
from luthier.records.ladder import LadderRecord
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord

if TYPE_CHECKING:
    from pandas import DataFrame

STOPS = {
    "finished": "",
    "early": ", stopped early",
    "time": ", stopped by the time limit",
    "forgetting": ", stopped by the guard against forgetting",
}
"""The end of a training, as a part of a sentence."""


@dataclass(frozen=True, slots=True, repr=False)
class AdaptResult(Displayed):
    """The result of `adapt`: the run, its rungs with the recommendation, and the report."""

    run: RunDirectory
    ladder: LadderRecord
    report: Path

    @property
    def is_finished(self) -> bool:
        """Whether no training was stopped by a time limit."""
        return not self._stopped

    @property
    def next_command(self) -> str:
        """The command that continues a ladder whose trainings ran out of time."""
        if self.ladder.budget_seconds is None:
            return f"luthier resume {shlex.quote(str(self.run.path))}"
        config = shlex.quote(str(self.run.config))
        return f"luthier adapt {config} --budget {2 * self.ladder.budget_seconds:.0f}s"

    @property
    def sentence(self) -> str:
        """Whether the run is finished, in words."""
        if self.is_finished:
            return f"{self.run.path} is finished."
        return f"{self.run.path}: the time limit stopped the training of {self._stopped}."

    @property
    def _stopped(self) -> str:
        """The rungs whose training ran out of time."""
        trained = ((rung.name, rung.training) for rung in self.ladder.rungs)
        return ", ".join(name for name, record in trained if record and record.stopped == "time")

    def shown(self) -> Iterator[str | Table]:
        """See `Displayed.shown`."""
        from luthier.reports import ladder_table

        yield self.ladder.recommendation.sentence
        yield from self.ladder.recommendation.warnings
        yield ladder_table(self.ladder)
        yield from _going_on(self)
        yield f"Report: {self.report}"

    def to_pandas(self) -> DataFrame:
        """A row for each rung: metric with interval, gain with p-value, cost.

        Raises:
            UsageError: pandas is not installed.
        """
        from luthier.api.frames import rungs_frame

        return rungs_frame(self.ladder)


@dataclass(frozen=True, slots=True, repr=False)
class MergeResult(Displayed):
    """The result of `merge`: the folder, and the difference from the unmerged logits.

    Attributes:
        folder: the merged model.
        difference: the largest difference of logits, relative to the largest logit.
        tolerance: the difference explained by rounding.
        positions: the number of positions compared.
    """

    folder: Path
    difference: float
    tolerance: float
    positions: int

    def shown(self) -> Iterator[str | Table]:
        """See `Displayed.shown`."""
        yield f"Merged into {self.folder}."
        yield (
            f"Its logits differ by {self.difference:.2g} of the largest at "
            f"{counted(self.positions, 'position')}; rounding explains {self.tolerance:.2g}."
        )


@dataclass(frozen=True, slots=True, repr=False)
class PushResult(Displayed):
    """The result of `push`: the folder, the size of each file by name, and the commit.

    Attributes:
        folder: the folder that was uploaded.
        files: the size of each of its files in bytes, by name.
        url: the address of the commit; empty: nothing was uploaded.
    """

    folder: Path
    files: Mapping[str, int]
    url: str

    def shown(self) -> Iterator[str | Table]:
        """See `Displayed.shown`."""
        size = format_bytes(sum(self.files.values()))
        files = f"{counted(len(self.files), 'file')}, {size}, in {self.folder}"
        yield f"Uploaded to {self.url}." if self.url else f"Nothing was uploaded; {files}."
        table = Table("file")
        table.figures("size")
        for name, count in self.files.items():
            table.add_row(name, format_bytes(count))
        yield table


@dataclass(frozen=True, slots=True, repr=False)
class TuneResult(Displayed):
    """The result of `tune`; the model itself is in ``run.model``."""

    run: RunDirectory
    training: TrainingRecord
    report: Path

    @property
    def is_finished(self) -> bool:
        """Whether the training was not stopped by its time limit."""
        return self.training.stopped != "time"

    @property
    def next_command(self) -> str:
        """The command that continues a training which ran out of time."""
        return f"luthier resume {shlex.quote(str(self.run.path))}"

    @property
    def sentence(self) -> str:
        """Whether the run is finished, in words."""
        if self.is_finished:
            return f"{self.run.path} is finished."
        done, planned = self.training.steps, counted(self.training.planned_steps, "step")
        return (
            f"{self.run.path} is not finished: the time limit stopped it after {done:,} of "
            f"{planned}."
        )

    def shown(self) -> Iterator[str | Table]:
        """See `Displayed.shown`."""
        training, loss = self.training, self.training.best_validation_loss
        best = "" if loss is None else f", validation loss {loss:.3f}"
        yield (
            f"Tuned with {training.method}: {training.steps:,} of "
            f"{counted(training.planned_steps, 'step')}{STOPS[training.stopped]}, "
            f"loss {training.first_loss:.3f} → {training.last_loss:.3f}{best}."
        )
        table = Table(headed=False)
        table.text()
        table.prose()
        table.add_row(
            "trained",
            f"{format_count(training.trained_parameters)} of "
            f"{format_count(training.total_parameters)} parameters on "
            f"{format_count(training.trained_tokens)} tokens",
        )
        peak = format_bytes(training.peak_memory_bytes)
        table.add_row("took", f"{format_duration(training.seconds)}, {peak} of memory at the peak")
        table.add_row("model", f"{self.run.model} ({format_bytes(training.artifact_bytes)})")
        table.add_row("report", str(self.report))
        yield table
        yield from _going_on(self)

    def to_pandas(self) -> DataFrame:
        """A row for each step of the training: loss, learning rate, tokens, seconds.

        Raises:
            UsageError: pandas is not installed.
        """
        from luthier.api.frames import steps_frame

        return steps_frame(self.run)


@dataclass(frozen=True, slots=True, repr=False)
class EvaluateResult(Displayed):
    """The result of `evaluate`: the run, its metrics, the answers, and the report."""

    run: RunDirectory
    evaluation: EvaluationRecord
    samples: tuple[SampleRecord, ...]
    report: Path

    def shown(self) -> Iterator[str | Table]:
        """See `Displayed.shown`."""
        from luthier.reports import evaluation_table

        record = self.evaluation
        yield f"{_measured(record)} of {counted(record.metrics[0].n, 'example')} of {record.task}."
        yield evaluation_table([record])
        yield f"Report: {self.report}"

    def to_pandas(self) -> DataFrame:
        """A row for each answer: prompt, prediction, references, scores, probabilities.

        A metric is a column of its name; the probability of a choice is ``p(CHOICE)``.

        Raises:
            UsageError: pandas is not installed.
        """
        from luthier.api.frames import samples_frame

        return samples_frame(self.samples)


@dataclass(frozen=True, slots=True, repr=False)
class BenchmarkResult(Displayed):
    """The result of `benchmark` for one model: its tasks, and the scores of its suites."""

    run: RunDirectory
    evaluations: tuple[EvaluationRecord, ...]
    suites: tuple[SuiteRecord, ...]
    report: Path

    def shown(self) -> Iterator[str | Table]:
        """See `Displayed.shown`."""
        from luthier.reports import evaluation_table

        tasks = "; ".join(f"{each.task} {_measured(each)}" for each in self.evaluations[:3])
        more = len(self.evaluations) - 3
        others = f"; and {counted(more, 'other task')}" if more > 0 else ""
        yield f"{tasks}{others}."
        yield evaluation_table(self.evaluations)
        yield f"Report: {self.report}"

    def to_pandas(self) -> DataFrame:
        """A row for each metric of each task: value, interval, standard error, n.

        Raises:
            UsageError: pandas is not installed.
        """
        from luthier.api.frames import metrics_frame

        return metrics_frame(self.evaluations)


class CompareResult(Displayed, RunComparison):
    """The result of `compare`: the comparison of each task and suite with the first run."""

    def shown(self) -> Iterator[str | Table]:
        """See `Displayed.shown`."""
        from luthier.reports.comparisons import comparison_sentence, comparison_table

        yield comparison_sentence(self)
        yield comparison_table(self)

    def to_pandas(self) -> DataFrame:
        """A row for each task or suite and run except the first: values, difference, p-value.

        Raises:
            UsageError: pandas is not installed.
        """
        from luthier.api.frames import comparisons_frame

        return comparisons_frame(self)


class SampleSizeResult(Displayed, SampleSize):
    """The result of `required_sample_size`."""

    def shown(self) -> Iterator[str | Table]:
        """See `Displayed.shown`."""
        from luthier.reports.changes import sample_size_table

        least, most = (pick(row.examples for row in self.rows) for pick in (min, max))
        yield f"To detect a difference of {self.difference:g}: {least:,} to {most:,} examples."
        yield sample_size_table(self)

    def to_pandas(self) -> DataFrame:
        """A row for each correlation of the two systems' scores.

        Raises:
            UsageError: pandas is not installed.
        """
        from luthier.api.frames import records_frame

        frame = records_frame(self.rows)
        return frame if self.measured_on > 1 else frame.drop(columns="detectable")


class DryRunResult(Displayed, DryRun):
    """The result of `dry_run`."""

    def shown(self) -> Iterator[str | Table]:
        """See `Displayed.shown`."""
        from luthier.api.tables import dry_run_table

        sizes = ", ".join(f"{count} {split}" for split, count in self.examples.items())
        yield f"Everything that can be checked before training is in order: {sizes} examples."
        if self.methods:
            yield dry_run_table(self)
        yield from self.power

    def to_pandas(self) -> DataFrame:
        """A row for each tuning method: parameters, steps, memory in bytes, seconds.

        Raises:
            UsageError: pandas is not installed.
        """
        from luthier.api.frames import records_frame

        return records_frame(self.methods)


@dataclass(frozen=True, repr=False)
class InitResult(Displayed, TaskDraft):
    """The result of `init`: a drafted task."""

    def shown(self) -> Iterator[str | Table]:
        """See `Displayed.shown`."""
        from luthier.api.tables import columns_table

        profile = self.profile
        kind = f"{len(profile.classes)} classes" if profile.label else "open answers"
        yield (
            f"{counted(profile.rows, 'row')}, {counted(len(profile.columns), 'column')}: "
            f"{' and '.join(profile.texts)} → {profile.right} ({kind})."
        )
        yield columns_table(profile)
        yield from (f"Unsure: {doubt}" for doubt in profile.unsure)
        yield from (f"Note: {note}" for note in profile.notes)

    def to_pandas(self) -> DataFrame:
        """A row for each column of the file: kind, distinct and missing values, lengths.

        Raises:
            UsageError: pandas is not installed.
        """
        from luthier.api.frames import records_frame

        return records_frame(self.profile.columns)


def _measured(record: EvaluationRecord) -> str:
    """The first metric of an evaluation with its interval."""
    from luthier.reports.rows import estimate_texts

    metric = record.metrics[0]
    return " ".join([metric.name, *estimate_texts(metric)])


def _going_on(result: TuneResult | AdaptResult) -> Iterator[str]:
    """How to continue a run that is not finished."""
    if not result.is_finished:
        yield f'{result.sentence} Go on: luthier.resume("{result.run.path}")'
