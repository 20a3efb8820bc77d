"""Training results, their cost, and extensions of a training."""

from __future__ import annotations

from typing import Literal

from luthier.records.base import Count, Record, Seconds


class Extension(Record):
    """A line of ``extensions.jsonl``: more epochs or steps added to a training.

    Attributes:
        step: optimizer steps taken, up to the newest checkpoint.
        epochs_before: planned epochs before the extension.
        epochs: planned epochs in total, after the extension.
        max_steps_before: the fixed number of steps before the extension, if set.
        max_steps: the fixed number of steps after the extension, if set.
        learning_rate_before: the peak learning rate before the extension.
        learning_rate: the peak learning rate after the extension.
        max_time: time limit of the training and of each extension, in seconds.
        extends: the fingerprint of the training before the extension.
        fingerprint: the fingerprint of the training after the extension.
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
    """``training.json``: the result and cost of a training."""

    method: str
    fingerprint: str
    trained_parameters: Count
    total_parameters: Count
    artifact_bytes: Count
    steps: Count
    planned_steps: Count
    epochs: float
    examples: Count
    batch_size: Count | None = None
    """Examples per optimizer step."""
    replayed: Count = 0
    """Number of general texts added to each epoch."""
    trained_tokens: Count
    processed_tokens: Count
    best_step: Count
    best_validation_loss: float | None
    first_loss: float
    last_loss: float
    stopped: Literal["finished", "early", "time", "forgetting"]
    overflows: Count = 0
    """Number of steps skipped because their gradient overflowed in float16."""
    seconds: Seconds
    peak_memory_bytes: Count
    extensions: tuple[Extension, ...] = ()
