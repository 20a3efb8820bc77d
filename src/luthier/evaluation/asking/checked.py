"""Loading of tasks with checks that their metrics exist and suit their answers."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.core.errors import LuthierError, UsageError
from luthier.evaluation.metrics import Metric, get_metric
from luthier.evaluation.predicting.generation import require_draws, require_enough
from luthier.tasks import load
from luthier.tasks.generation import GenerationTask
from luthier.tasks.load import Selection
from luthier.tasks.needs import Need
from luthier.tasks.suite import Suite
from luthier.tasks.task import Checks, Task

_OF_CLASSES = ("acc", "balanced_accuracy", "macro_f1")


def metrics_of(task: Task) -> tuple[Metric, ...]:
    """The metrics of a task, in order; those of classes for a task that names none."""
    return tuple(get_metric(name) for name in task.metrics or _OF_CLASSES)


def load_task(name_or_path: str) -> Task | Suite:
    """Load a task or a suite, and check its metrics; see `luthier.tasks.load.load_task`."""
    return load.load_task(name_or_path, CHECKS)


def select_tasks(names: Sequence[str]) -> Selection:
    """Load all named tasks, and check their metrics; see `luthier.tasks.load.select_tasks`."""
    return load.select_tasks(names, CHECKS)


def _require_metric(name: str) -> None:
    try:
        get_metric(name)
    except LuthierError as error:
        raise ValueError(f"{error.problem} ({error.fix})") from None


def _require_suited(task: Task) -> None:
    sets: set[Need] = set() if task.question_id is None else {"sets of answers"}
    for metric in metrics_of(task):
        if missing := sorted(metric.needs - task.gives - sets):
            raise ValueError(
                f"the metric {metric.name} needs {' and '.join(missing)}, which a task of "
                f"this kind does not have; {task.advice}"
            )
    if isinstance(task, GenerationTask):
        _require_samples(task)


def _require_samples(task: GenerationTask) -> None:
    try:
        require_draws(task.decoding, task.samples)
        require_enough(metrics_of(task), task.samples)
    except UsageError as error:
        raise ValueError(f"{error.problem}; {error.fix}") from None


CHECKS = Checks(metric=_require_metric, task=_require_suited)
