"""Storage of evaluations in the run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from luthier.config import RunConfig
from luthier.config.stored import described_config
from luthier.core.errors import DataError
from luthier.core.files import read_lines, write_lines
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.task import Evaluation
from luthier.evaluation.verified import check_evaluation, note_verified
from luthier.records.evaluation import EvaluationRecord, SampleRecord
from luthier.records.run_directory import RunDirectory


def write_evaluation(
    run: RunDirectory, record: EvaluationRecord, samples: Sequence[SampleRecord]
) -> None:
    """Store an evaluation in the run directory.

    The record is written last, so an existing record means that the evaluation is complete.
    """
    write_lines(run.samples(record.task), (sample.model_dump(mode="json") for sample in samples))
    record.write(run.evaluation(record.task))
    note_verified(run, record.task, stored_resampling(run))


def load_evaluation(run: RunDirectory, task: str) -> Evaluation:
    """Load the evaluation of ``task``, and check that its figures match its samples.

    Raises:
        DataError: there is no evaluation, samples are missing, or a figure does not match them.
    """
    path = run.evaluation(task)
    if not path.exists():
        raise DataError(
            f"{run.name!r} holds no evaluation of {task!r}",
            where=str(path),
            fix="run 'luthier evaluate' on it first",
        )
    record = EvaluationRecord.read(path)
    if run.evaluation(record.task) != path:
        raise DataError(f"by its name this is not the file of {record.task!r}", where=str(path))
    samples = load_samples(run, task)
    expected = record.metrics[0].n if record.metrics else len(samples)
    if len(samples) != expected:
        raise DataError(
            f"{len(samples)} samples are stored, but {expected} were measured",
            where=str(run.samples(task)),
            fix="run the evaluation again",
        )
    check_evaluation(run, record, samples, stored_resampling(run))
    return Evaluation(record, samples)


def stored_resampling(run: RunDirectory) -> Resampling:
    """The bootstrap settings of a run's stored configuration, or the defaults."""
    config = described_config(run) if run.config.is_file() else RunConfig()
    return Resampling.of(config.evaluate, config.seed)


def evaluated_tasks(run: RunDirectory) -> tuple[str, ...]:
    """The names of the tasks with a stored evaluation, sorted."""
    found = (path.with_suffix("").stem for path in run.path.glob("evaluation/*.samples.jsonl"))
    return tuple(sorted(task for task in found if run.evaluation(task).exists()))


def load_samples(run: RunDirectory, task: str) -> tuple[SampleRecord, ...]:
    """Load the samples of ``task``, in the order of its questions.

    Raises:
        DataError: a line is not a sample of this version of Luthier.
    """
    return read_samples(run.samples(task))


def read_samples(path: Path) -> tuple[SampleRecord, ...]:
    """Load the samples, or the judged pairs, of a file.

    Raises:
        DataError: as `load_samples`.
    """
    samples = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            samples.append(SampleRecord.model_validate(line))
        except ValidationError as error:
            raise DataError(f"this is not a sample: {error}", where=f"{path}:{number}") from None
    return tuple(samples)
