"""Evaluation: metrics, intervals, paired tests, and what was forgotten."""

from luthier.evaluate.compare import compare_evaluations, compare_rungs
from luthier.evaluate.contamination import example_text, find_contamination, with_clean_part
from luthier.evaluate.forgetting import measure_forgetting, measure_general
from luthier.evaluate.metrics import Metric, get_metric, known_metrics
from luthier.evaluate.runner import evaluate_task
from luthier.evaluate.significance import PairedTest, holm, minimum_detectable_effect, paired_test
from luthier.evaluate.statistics import Resampling, bootstrap_interval
from luthier.evaluate.store import (
    load_evaluation,
    load_general_losses,
    load_samples,
    write_evaluation,
    write_general_losses,
)
from luthier.evaluate.task import Evaluation, EvaluationTask

__all__ = [
    "Evaluation",
    "EvaluationTask",
    "Metric",
    "PairedTest",
    "Resampling",
    "bootstrap_interval",
    "compare_evaluations",
    "compare_rungs",
    "evaluate_task",
    "example_text",
    "find_contamination",
    "get_metric",
    "holm",
    "known_metrics",
    "load_evaluation",
    "load_general_losses",
    "load_samples",
    "measure_forgetting",
    "measure_general",
    "minimum_detectable_effect",
    "paired_test",
    "with_clean_part",
    "write_evaluation",
    "write_general_losses",
]
