"""Training: its result and its cost, and how it was extended."""

from __future__ import annotations

from typing import Literal

from luthier.records.base import Count, Record, Seconds


class Extension(Record):
    """A line of ``extensions.jsonl``: a training that was given more epochs or steps on purpose.

    Attributes:
        step: optimizer steps that had been taken, up to the newest checkpoint.
        epochs_before: the passes that were planned until then.
        epochs: the passes that are planned from now on, those before included.
        max_steps_before: the steps that decided in their place until then, if any did.
        max_steps: the steps that decide in their place from now on, if any do.
        learning_rate_before: the peak learning rate until then.
        learning_rate: the peak learning rate from now on.
        max_time: seconds that the training, and each extension, may take.
        extends: the fingerprint of the training until then.
        fingerprint: the fingerprint of the training from now on.
    """

    step: Count
    epochs_before: float
    epochs: float
    max_steps_before: int | None = None
    max_steps: int | None = None
    learning_rate_before: float
    learning_rate: float
    max_time: float | None = None
    extends: str
    fingerprint: str


class TrainingRecord(Record):
    """``training.json``: what tuning did and what it cost."""

    method: str
    fingerprint: str
    trained_parameters: Count
    total_parameters: Count
    artifact_bytes: Count
    steps: Count
    planned_steps: Count
    epochs: float
    examples: Count
    replayed: Count = 0
    """General texts beside the examples in each epoch."""
    trained_tokens: Count
    processed_tokens: Count
    best_step: Count
    best_validation_loss: float | None
    first_loss: float
    last_loss: float
    stopped: Literal["finished", "early", "time", "forgetting"]
    overflows: Count = 0
    """Steps that were left out because their gradient overflowed in float16."""
    seconds: Seconds
    peak_memory_bytes: Count
    extensions: tuple[Extension, ...] = ()
