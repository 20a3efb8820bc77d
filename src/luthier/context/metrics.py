"""Which metrics a run has, and whether they and its target make sense."""

from __future__ import annotations

from luthier.config import RunConfig
from luthier.core.console import Console
from luthier.data.dataset import Dataset
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.metrics.target import require_target
from luthier.tasks.needs import written


def metric_names(config: RunConfig, dataset: Dataset) -> tuple[str, ...]:
    """The metrics of a run, the first being the one that decides.

    Its answers are written by a model, so the metrics of its task count as far as they need no
    more than that: not the likelihood of what was not written. Where none is left, written answers
    are right or wrong.
    """
    if config.evaluate.metrics:
        return config.evaluate.metrics
    given = written(config.evaluate.samples) | dataset.template.gives_written
    measured = tuple(n for n in dataset.template.metrics if get_metric(n).needs <= given)
    return measured or (("accuracy",) if "choices" in given else ("exact_match",))


def require_metrics(config: RunConfig, dataset: Dataset, console: Console) -> None:
    """Check metrics and target: needed last, they are wrong from the beginning.

    Raises:
        UsageError: there is no such metric, or it cannot have the value of the target.
    """
    first, *_ = [get_metric(name) for name in metric_names(config, dataset)]
    if config.adapt.target is not None and (doubt := require_target(first, config.adapt.target)):
        console.warn(doubt)
