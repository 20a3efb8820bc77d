"""Evaluations in the run directory."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from luthier.core.errors import DataError
from luthier.core.files import read_lines, write_lines
from luthier.core.records import EvaluationRecord, SampleRecord
from luthier.core.run_directory import RunDirectory
from luthier.evaluate.task import Evaluation


def write_evaluation(
    run: RunDirectory, record: EvaluationRecord, samples: Sequence[SampleRecord]
) -> None:
    """Store an evaluation. The record is written last, so where it is, all of it is."""
    write_lines(run.samples(record.task), (sample.model_dump(mode="json") for sample in samples))
    record.write(run.evaluation(record.task))


def load_evaluation(run: RunDirectory, task: str) -> Evaluation:
    """The stored evaluation of ``task``.

    Raises:
        DataError: there is none, or samples are missing.
    """
    path = run.evaluation(task)
    if not path.exists():
        raise DataError(
            f"{run.name!r} holds no evaluation of {task!r}",
            where=str(path),
            fix="run 'luthier evaluate' on it first",
        )
    record = EvaluationRecord.read(path)
    samples = load_samples(run, task)
    expected = record.metrics[0].n if record.metrics else len(samples)
    if len(samples) != expected:
        raise DataError(
            f"{len(samples)} samples are stored, but {expected} were measured",
            where=str(run.samples(task)),
            fix="run the evaluation again",
        )
    return Evaluation(record, samples)


def evaluated_tasks(run: RunDirectory) -> tuple[str, ...]:
    """The tasks of which the run holds an evaluation, by name."""
    found = (path.with_suffix("").stem for path in run.path.glob("evaluation/*.samples.jsonl"))
    return tuple(sorted(task for task in found if run.evaluation(task).exists()))


def load_samples(run: RunDirectory, task: str) -> tuple[SampleRecord, ...]:
    """The stored samples of ``task``, in the order they were asked.

    Raises:
        DataError: a line is not a sample of this version of Luthier.
    """
    path = run.samples(task)
    samples = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            samples.append(SampleRecord.model_validate(line))
        except ValidationError as error:
            raise DataError(f"this is not a sample: {error}", where=f"{path}:{number}") from None
    return tuple(samples)
