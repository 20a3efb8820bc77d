"""Records as evaluations and trainings leave them, made of given figures: nothing was measured."""

from __future__ import annotations

from typing import Any

from luthier.records.evaluation import EvaluationRecord, MetricResult, ModelStamp, TemplateStamp
from luthier.records.training import TrainingRecord


def metric_result(
    name: str, value: float, *, below: float = 0.1, above: float = 0.1, **more: Any
) -> MetricResult:
    """A value and how far its interval reaches below and above it."""
    usual = {"n": 20, "signature": name}
    return MetricResult(
        name=name, value=value, low=value - below, high=value + above, **(usual | more)
    )


def evaluation_record(task: str, *metrics: MetricResult, **more: Any) -> EvaluationRecord:
    """What a task's metrics are; of no model, unless it is given."""
    usual = {
        "split": "test",
        "model": ModelStamp(id="none", parameters=0, dtype="float32", architecture="none"),
        "template": TemplateStamp(id=task, hash="aa"),
        "shots": 0,
        "chat_template": False,
        "seconds": 1.0,
        "generated_tokens": 10,
        "prompt_tokens": 10,
        "truncated_outputs": 0,
        "versions": {},
    }
    return EvaluationRecord(task=task, metrics=metrics, **(usual | more))


def training_record(**more: Any) -> TrainingRecord:
    """A training that ended well after ten steps."""
    usual = {
        "method": "lora",
        "fingerprint": "f",
        "trained_parameters": 921_600,
        "total_parameters": 134_500_000,
        "artifact_bytes": 2**20,
        "steps": 10,
        "planned_steps": 10,
        "epochs": 1.0,
        "examples": 160,
        "trained_tokens": 1000,
        "processed_tokens": 9000,
        "best_step": 10,
        "best_validation_loss": 2.0,
        "first_loss": 3.0,
        "last_loss": 2.0,
        "stopped": "finished",
        "seconds": 90.0,
        "peak_memory_bytes": 2**30,
    }
    return TrainingRecord(**(usual | more))
