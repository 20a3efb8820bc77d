"""What the stages give back to a caller in Python; the rest is in the run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from luthier.records.evaluation import EvaluationRecord, SampleRecord, SuiteRecord
from luthier.records.ladder import LadderRecord
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord


@dataclass(frozen=True, slots=True)
class AdaptResult:
    """What `adapt` made."""

    run: RunDirectory
    ladder: LadderRecord
    report: Path


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What `merge` made: where, and how far its logits are from the unmerged ones.

    Attributes:
        folder: the whole model.
        difference: of the logits at most, as a share of the largest.
        tolerance: what rounding explains.
        positions: at how many positions they were compared.
    """

    folder: Path
    difference: float
    tolerance: float
    positions: int


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What `tune` made; the model itself is in ``run.model``."""

    run: RunDirectory
    training: TrainingRecord
    report: Path


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """What `evaluate` measured."""

    run: RunDirectory
    evaluation: EvaluationRecord
    samples: tuple[SampleRecord, ...]
    report: Path


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What `benchmark` measured of one model: its tasks, and the scores of its suites."""

    run: RunDirectory
    evaluations: tuple[EvaluationRecord, ...]
    suites: tuple[SuiteRecord, ...]
    report: Path
