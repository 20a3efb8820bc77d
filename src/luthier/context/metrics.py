"""The metrics of a run, and checks of its metrics and target."""

from __future__ import annotations

from luthier.config import RunConfig
from luthier.context.answer_mode import wants_choices
from luthier.core.console import Console
from luthier.data.dataset import Dataset
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.metrics.target import require_target
from luthier.evaluation.predicting.multiple_choice import MultipleChoice
from luthier.tasks.needs import written


def metric_names(config: RunConfig, dataset: Dataset, *, chooses: bool) -> tuple[str, ...]:
    """The metrics of a run; the first one decides comparisons.

    Without ``evaluate.metrics`` they are the metrics of the task that suit its answers. If no
    metric is left, the default is accuracy for closed answers and exact match for open ones.

    Args:
        config: the configuration.
        dataset: the examples.
        chooses: whether answers are chosen by likelihood, not generated.
    """
    if config.evaluate.metrics:
        return config.evaluate.metrics
    given = MultipleChoice().gives if chooses else written(config.evaluate.samples)
    given |= dataset.template.gives_written
    measured = tuple(n for n in dataset.template.metrics if get_metric(n).needs <= given)
    return measured or (("accuracy",) if "choices" in given else ("exact_match",))


def require_metrics(config: RunConfig, dataset: Dataset, console: Console) -> None:
    """Check the metrics and the target early, although they are needed only at the end.

    Raises:
        UsageError: there is no such metric, or it cannot reach the value of the target.
    """
    chooses = wants_choices(config, dataset)
    first, *_ = [get_metric(name) for name in metric_names(config, dataset, chooses=chooses)]
    if config.adapt.target is not None and (doubt := require_target(first, config.adapt.target)):
        console.warn(doubt)
