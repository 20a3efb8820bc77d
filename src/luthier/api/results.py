"""Return values of the stages in Python; everything else is in the run directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from luthier.records.evaluation import EvaluationRecord, SampleRecord, SuiteRecord
from luthier.records.ladder import LadderRecord
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord


@dataclass(frozen=True, slots=True)
class AdaptResult:
    """The result of `adapt`."""

    run: RunDirectory
    ladder: LadderRecord
    report: Path


@dataclass(frozen=True, slots=True)
class MergeResult:
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


@dataclass(frozen=True, slots=True)
class PushResult:
    """The result of `push`: the folder, the size of each file by name, and the commit.

    Attributes:
        folder: the folder that was uploaded.
        files: the size of each of its files in bytes, by name.
        url: the address of the commit; empty: nothing was uploaded.
    """

    folder: Path
    files: Mapping[str, int]
    url: str


@dataclass(frozen=True, slots=True)
class TuneResult:
    """The result of `tune`; the model itself is in ``run.model``."""

    run: RunDirectory
    training: TrainingRecord
    report: Path


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """The result of `evaluate`."""

    run: RunDirectory
    evaluation: EvaluationRecord
    samples: tuple[SampleRecord, ...]
    report: Path


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """The result of `benchmark` for one model: its tasks, and the scores of its suites."""

    run: RunDirectory
    evaluations: tuple[EvaluationRecord, ...]
    suites: tuple[SuiteRecord, ...]
    report: Path
