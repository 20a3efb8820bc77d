"""Metrics: standard implementations with one interface, found by name."""

from luthier.evaluation.metrics.base import MeanMetric, Metric
from luthier.evaluation.metrics.registry import get_metric, known_metrics

__all__ = ["MeanMetric", "Metric", "get_metric", "known_metrics"]
