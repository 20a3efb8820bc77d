"""Which metrics a run has, and whether they and its target make sense."""

from __future__ import annotations

from luthier.config import RunConfig
from luthier.core.console import Console
from luthier.data.dataset import Dataset
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.metrics.target import require_target

_DEFAULT_METRICS = ("rougeL", "rouge1", "chrf")


def metric_names(config: RunConfig, dataset: Dataset) -> tuple[str, ...]:
    """The metrics of a run, the first being the one that decides."""
    template = dataset.template
    return config.evaluate.metrics or (template.metrics if template else _DEFAULT_METRICS)


def require_metrics(config: RunConfig, dataset: Dataset, console: Console) -> None:
    """Check metrics and target: needed last, they are wrong from the beginning.

    Raises:
        UsageError: there is no such metric, or it cannot have the value of the target.
    """
    first, *_ = [get_metric(name) for name in metric_names(config, dataset)]
    if config.adapt.target is not None and (doubt := require_target(first, config.adapt.target)):
        console.warn(doubt)
