"""Evaluation: metrics, confidence intervals, paired tests, and forgetting."""

from luthier.evaluation.cached_engine import CachedEngine
from luthier.evaluation.comparison.paired import compare_evaluations, compare_rungs, with_holm
from luthier.evaluation.comparison.pairwise import compare_systems
from luthier.evaluation.contamination.search import (
    example_text,
    find_contamination,
    with_clean_part,
)
from luthier.evaluation.degenerate import one_sided_answers, unusable_answers
from luthier.evaluation.details import with_details
from luthier.evaluation.forgetting import measure_forgetting, measure_general
from luthier.evaluation.metrics import Metric, get_metric, known_metrics
from luthier.evaluation.runner import evaluate_task
from luthier.evaluation.statistics.bootstrap import Resampling, bootstrap_interval
from luthier.evaluation.statistics.power import (
    detectable_effect,
    plan_sample_size,
    plan_shares,
    power_notes,
)
from luthier.evaluation.statistics.significance import PairedTest, holm, paired_test
from luthier.evaluation.store import (
    evaluated_tasks,
    load_evaluation,
    load_samples,
    write_evaluation,
)
from luthier.evaluation.task import Evaluation, EvaluationTask

__all__ = [
    "CachedEngine",
    "Evaluation",
    "EvaluationTask",
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
    "one_sided_answers",
    "paired_test",
    "plan_sample_size",
    "plan_shares",
    "power_notes",
    "unusable_answers",
    "with_clean_part",
    "with_details",
    "with_holm",
    "write_evaluation",
]
