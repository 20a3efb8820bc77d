"""Which settings of ``evaluate`` concern benchmark tasks, and which concern data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from luthier.config import EvaluateConfig, RunConfig
from luthier.core.errors import UsageError
from luthier.evaluate.tasks import Task


@dataclass(frozen=True, slots=True)
class Reach:
    """What a setting reaches.

    Attributes:
        field: the field of a task that it replaces; empty where it replaces none.
        measured: what it has an effect on: benchmark tasks, the run's own data, or both.
    """

    field: str = ""
    measured: Literal["both", "tasks", "data"] = "both"


SETTINGS: Mapping[str, Reach] = {
    "metrics": Reach(field="metrics"),
    "max_new_tokens": Reach(field="max_new_tokens"),
    "stop": Reach(field="until"),
    "decoding": Reach(field="decoding"),
    "too_long": Reach(measured="data"),
    "samples": Reach(field="samples", measured="tasks"),
    "engine": Reach(),
    "batch_tokens": Reach(),
    "confidence": Reach(),
    "resamples": Reach(),
    "tasks": Reach(measured="tasks"),
    "task_shots": Reach(measured="tasks"),
    "limit": Reach(measured="tasks"),
    "limit_draw": Reach(measured="tasks"),
    "contamination_words": Reach(measured="data"),
    "general_text": Reach(measured="data"),
    "general_tokens": Reach(measured="data"),
}
"""Every setting of ``evaluate``; a test holds this table against `EvaluateConfig`."""


def with_settings(task: Task, config: RunConfig) -> Task:
    """A task with the settings of ``evaluate`` that are not left at their defaults.

    Raises:
        UsageError: the task cannot take one of them.
    """
    chosen = {name: SETTINGS[name].field for name in _changed(config.evaluate)}
    replaced = {name: field for name, field in chosen.items() if field}
    for name, field in replaced.items():
        if field not in type(task).model_fields:
            raise _refused(task, (name,), "its answers are scored, not generated")
    if not replaced:
        return task
    # Draws follow from the run's seed.
    values = {**dict(config.evaluate), "decoding": config.strategy}
    try:
        return task.overridden({field: values[name] for name, field in replaced.items()})
    except ValidationError as error:
        reasons = "; ".join(
            problem["msg"].removeprefix("Value error, ") for problem in error.errors()
        )
        raise _refused(task, tuple(replaced), reasons) from None


def without_effect(config: EvaluateConfig, measured: Literal["tasks", "data"]) -> tuple[str, ...]:
    """The settings that are not left at their defaults and change nothing that is measured."""
    other = "data" if measured == "tasks" else "tasks"
    return tuple(name for name in _changed(config) if SETTINGS[name].measured == other)


def _changed(config: EvaluateConfig) -> tuple[str, ...]:
    fields: Mapping[str, Any] = EvaluateConfig.model_fields
    return tuple(n for n in fields if getattr(config, n) != fields[n].default)


def _refused(task: Task, names: tuple[str, ...], reason: str) -> UsageError:
    settings = ", ".join(f"evaluate.{name}" for name in names)
    return UsageError(
        f"the task {task.name} does not take {settings}: {reason}",
        where=f"evaluate.{names[0]}",
        fix="leave it out, or measure the tasks that take it apart from the others",
    )
