"""Records of an adapt run: the table of rungs and the recommendation."""

from __future__ import annotations

from typing import Literal, get_args

from luthier.core.choices import BaselineName
from luthier.records.base import Count, Record, Seconds
from luthier.records.comparison import Comparison
from luthier.records.contamination import Contamination
from luthier.records.evaluation import MetricResult, ModelStamp, TemplateStamp
from luthier.records.forgetting import Forgetting
from luthier.records.training import TrainingRecord


class RungRecord(Record):
    """One row of the ladder's table."""

    name: str
    status: Literal["done", "skipped", "failed"]
    reason: str = ""
    unusable: str = ""
    """The reason why the answers are unusable, regardless of their score."""
    one_sided: str = ""
    """The answer that is given far too often, in words."""
    truncated: Count = 0
    """Number of answers that were cut at the token limit."""
    metric: MetricResult | None = None
    metrics: tuple[MetricResult, ...] = ()
    clean: MetricResult | None = None
    gain: Comparison | None = None
    forgetting: Forgetting | None = None
    trained_parameters: Count = 0
    artifact_bytes: Count = 0
    peak_memory_bytes: Count = 0
    train_seconds: Seconds = 0.0
    evaluate_seconds: Seconds = 0.0
    training: TrainingRecord | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether the rung needs no language model."""
        return self.name in get_args(BaselineName)


class StoredRung(Record):
    """``rung.json``: a finished rung and the fingerprint of its inputs."""

    fingerprint: str
    record: RungRecord


class Recommendation(Record):
    """The recommendation of the ladder, in words."""

    rung: str | None
    sentence: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """Doubts about the measurements, which stand above the result."""


class LadderRecord(Record):
    """``ladder.json``: the complete result of ``luthier adapt``."""

    task: str
    split: str
    metric: str
    target: float | None
    alpha: float
    examples: dict[str, Count]
    model: ModelStamp
    template: TemplateStamp
    rungs: tuple[RungRecord, ...]
    recommendation: Recommendation
    contamination: Contamination | None = None
    seconds: Seconds
    budget_seconds: float | None = None

    @property
    def left_out_examples(self) -> int:
        """The largest number of training examples that a tuned rung could not be trained on."""
        trained = [rung.training.examples for rung in self.rungs if rung.training]
        return max(0, self.examples.get("train", 0) - min(trained)) if trained else 0
