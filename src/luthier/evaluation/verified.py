"""Verification of stored figures by recomputing them from the stored samples.

A run may come from another person. Its figures follow from its samples, so they are computed again
with the same seed and number of resamples. A figure that differs by more than rounding is an error
that names both numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from luthier.core.errors import DataError, LuthierError, UsageError
from luthier.core.files import file_sha256
from luthier.core.untrusted import reading_foreign
from luthier.evaluation.details import Details, details
from luthier.evaluation.metrics import Metric, get_metric
from luthier.evaluation.predicting.generation import count_unfinished
from luthier.evaluation.runner import measure
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.records.base import Record
from luthier.records.contamination import Contamination
from luthier.records.evaluation import EvaluationRecord, MetricResult, SampleRecord
from luthier.records.run_directory import RunDirectory

_RELATIVE, _ABSOLUTE = 1e-9, 1e-12
"""The relative and absolute tolerances for rounding differences."""
_VERSION = re.compile(r"\|version:[^|]*")
_ABSENT_IN_OLD = ("standard_error", "detectable")
_MEASURE_AGAIN = (
    "one of the two was changed, or another version computed it: measure again with "
    "'luthier evaluate', which keeps the answers that are there"
)
_verified: set[tuple[object, ...]] = set()
"""Keys of the evaluations that this process has verified, by content."""


def check_evaluation(
    run: RunDirectory,
    record: EvaluationRecord,
    samples: Sequence[SampleRecord],
    resampling: Resampling,
) -> None:
    """Check that an evaluation's figures match its samples.

    Args:
        run: the run directory that stores both.
        record: the figures.
        samples: the answers with their scores.
        resampling: the bootstrap settings of the run's configuration. Settings in the record take
            precedence.

    Raises:
        DataError: a figure differs, or cannot be recomputed.
    """
    key = _key(run, record.task, resampling)
    if key in _verified:
        return
    drawn = _as_drawn(record, resampling)
    path = run.evaluation(record.task)
    source = run.samples(record.task)
    check_metrics("metrics", record.metrics, samples, drawn, path, source)
    if record.clean:
        clean = _clean(run, record, samples)
        check_metrics("clean", record.clean, clean, drawn, path, source)
    _check_details(record, samples, drawn, path)
    counted = {
        "truncated_outputs": sum(sample.finish == "length" for sample in samples),
        "unfinished": count_unfinished(samples),
    }
    stored = {name: getattr(record, name) for name in counted}
    require_alike("counts", stored, counted, path)
    _check_scores(record, samples, source)
    _verified.add(key)


def note_verified(run: RunDirectory, task: str, resampling: Resampling) -> None:
    """Mark an evaluation as verified, because this process has just computed and stored it."""
    _verified.add(_key(run, task, resampling))


def check_metrics(
    field: str,
    stored: Sequence[MetricResult],
    samples: Sequence[SampleRecord],
    resampling: Resampling,
    path: Path,
    source: Path,
) -> None:
    """Check that stored metrics match the samples.

    Args:
        field: the name of the metrics' field in the file.
        stored: the stored metrics.
        samples: the samples of these metrics.
        resampling: the bootstrap settings of their intervals.
        path: the file of the metrics.
        source: the file of the samples.

    Raises:
        DataError: a metric differs, or cannot be recomputed.
    """
    for one in stored:
        drawn = replace(resampling, confidence=one.confidence)
        metric = _metric(one.name, path)
        with _recomputing(one.name, source):
            found = measure(metric, samples, drawn)
        require_alike(f"{field}: {one.name}", comparable(one), metric_values(found), path)


def require_alike(
    field: str, stored: Mapping[str, Any], found: Mapping[str, Any], path: Path, fix: str = ""
) -> None:
    """Check that stored values equal the recomputed ones, up to rounding.

    Args:
        field: the name of their field in the file.
        stored: the stored values, by name.
        found: the recomputed values, by name.
        path: the file.
        fix: the advice if they differ; empty: measure again.

    Raises:
        DataError: a value differs; the error shows the first one, stored and recomputed.
    """
    for name, value in stored.items():
        if not _is_alike(value, found[name]):
            raise DataError(
                f"{field}, {name}: {_shown(value)} is stored, but what it is made of gives "
                f"{_shown(found[name])}",
                where=str(path),
                fix=fix or _MEASURE_AGAIN,
            )


def _key(run: RunDirectory, task: str, resampling: Resampling) -> tuple[object, ...]:
    files = (run.evaluation(task), run.samples(task), *_contamination_files(run))
    return (resampling, *(file_sha256(path) if path.is_file() else "" for path in files))


def _as_drawn(record: EvaluationRecord, resampling: Resampling) -> Resampling:
    """The bootstrap settings of a record, or those of the configuration if it has none."""
    if record.seed is None or record.resamples is None:
        return resampling
    return replace(resampling, seed=record.seed, resamples=record.resamples)


def _clean(
    run: RunDirectory, record: EvaluationRecord, samples: Sequence[SampleRecord]
) -> list[SampleRecord]:
    """The samples without contamination, by the run's own list of contaminated examples."""
    path = next((path for path in _contamination_files(run) if path.is_file()), None)
    if path is None:
        raise DataError(
            "metrics on clean examples are stored, but no list of the others",
            where=str(run.evaluation(record.task)),
            fix=_MEASURE_AGAIN,
        )
    dirty = {example.id for example in Contamination.read(path).examples}
    clean = [sample for sample in samples if sample.id not in dirty]
    if not clean:
        raise DataError("metrics on clean examples are stored, but none is", where=str(path))
    return clean


def _contamination_files(run: RunDirectory) -> tuple[Path, Path]:
    return run.contamination, run.parent_run.contamination


def _check_scores(record: EvaluationRecord, samples: Sequence[SampleRecord], path: Path) -> None:
    """Check that each sample's stored scores equal the recomputed ones."""
    for one in record.metrics:
        metric = _metric(one.name, path)
        with _recomputing(one.name, path):
            found = metric.per_sample(metric.measure(samples)).tolist()
        for number, (sample, score) in enumerate(zip(samples, found, strict=True), start=1):
            if one.name in sample.scores:
                stored = {one.name: sample.scores[one.name]}
                require_alike("scores", stored, {one.name: score}, Path(f"{path}:{number}"))


def _check_details(
    record: EvaluationRecord, samples: Sequence[SampleRecord], resampling: Resampling, path: Path
) -> None:
    """Check that results by class, reliability and abstention equal the recomputed ones.

    Records of earlier versions have none.
    """
    stored: dict[str, Any] = {name: getattr(record, name) for name in Details.__annotations__}
    if all(detail is None for detail in stored.values()):
        return
    levels = [metric.confidence for metric in record.metrics]
    drawn = replace(resampling, confidence=levels[0]) if levels else resampling
    threshold = record.abstention.threshold if record.abstention else None
    with _recomputing("the results by class", path):
        found = dict(details(samples, drawn, threshold))
    for name, detail in stored.items():
        if detail is not None:
            told, made = dict(_leaves(detail)), dict(_leaves(found[name]))
            names = told | made
            require_alike(
                name, {n: told.get(n) for n in names}, {n: made.get(n) for n in names}, path
            )


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The numbers and texts of a record or None, by dotted name."""
    if isinstance(value, Record):
        value = value.model_dump(mode="json")
    if not isinstance(value, dict | list):
        yield name, value
        return
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(part, f"{name}.{key}" if name else str(key))


@contextmanager
def _recomputing(name: str, path: Path) -> Iterator[None]:
    """Turn an exception of a metric on stored samples into an error that names their file."""
    problem = f"{name} cannot be computed again from the samples"
    try:
        with reading_foreign(problem, str(path), _MEASURE_AGAIN):
            yield
    except LuthierError as error:
        if str(path) in error.where:
            raise
        place = f" ({error.where})" if error.where else ""
        raise DataError(
            f"{problem}: {error.problem}{place}", where=str(path), fix=_MEASURE_AGAIN
        ) from None


def _metric(name: str, path: Path) -> Metric:
    try:
        return get_metric(name)
    except UsageError as error:
        raise DataError(
            f"the metric {name!r} cannot be recomputed: {error.problem}",
            where=str(path),
            fix="install the package that provides it, or measure again without it",
        ) from None


def comparable(metric: MetricResult) -> dict[str, Any]:
    """The values of a stored metric to compare, by name.

    The version of the metric's library and fields that older records lack are left out.
    """
    values = metric_values(metric)
    missing = [name for name in _ABSENT_IN_OLD if values[name] is None]
    return {name: value for name, value in values.items() if name not in missing}


def metric_values(metric: MetricResult) -> dict[str, Any]:
    """The values of a metric, by name, without the version of its library."""
    return metric.model_dump() | {"signature": _VERSION.sub("", metric.signature)}


def _is_alike(stored: Any, found: Any) -> bool:
    if isinstance(stored, float) and isinstance(found, float | int):
        return math.isclose(stored, found, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return bool(stored == found)


def _shown(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else repr(value)
