"""Evaluation: metrics, intervals, paired tests, and what was forgotten."""

from luthier.evaluate.compare import compare_evaluations, compare_rungs, with_holm
from luthier.evaluate.contamination import example_text, find_contamination, with_clean_part
from luthier.evaluate.degenerate import unusable_answers
from luthier.evaluate.forgetting import measure_forgetting, measure_general
from luthier.evaluate.kept import KeptEngine
from luthier.evaluate.metrics import Metric, get_metric, known_metrics
from luthier.evaluate.power import detectable_effect, plan_sample_size, plan_shares, power_notes
from luthier.evaluate.runner import evaluate_task
from luthier.evaluate.significance import PairedTest, holm, paired_test
from luthier.evaluate.statistics import Resampling, bootstrap_interval
from luthier.evaluate.store import (
    evaluated_tasks,
    load_evaluation,
    load_samples,
    write_evaluation,
)
from luthier.evaluate.systems import compare_systems
from luthier.evaluate.task import Evaluation, EvaluationTask

__all__ = [
    "Evaluation",
    "EvaluationTask",
    "KeptEngine",
    "Metric",
    "PairedTest",
    "Resampling",
    "bootstrap_interval",
    "compare_evaluations",
    "compare_rungs",
    "compare_systems",
    "detectable_effect",
    "evaluate_task",
    "evaluated_tasks",
    "example_text",
    "find_contamination",
    "get_metric",
    "holm",
    "known_metrics",
    "load_evaluation",
    "load_samples",
    "measure_forgetting",
    "measure_general",
    "paired_test",
    "plan_sample_size",
    "plan_shares",
    "power_notes",
    "unusable_answers",
    "with_clean_part",
    "with_holm",
    "write_evaluation",
]
