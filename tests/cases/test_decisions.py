"""What is recommended, and how sure it is, where that once was wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.records import evaluation_record

from luthier.adapt.recommend import recommend
from luthier.config import Decoding
from luthier.core.records import Measured, Recommendation, RungRecord, SampleRecord
from luthier.evaluate.compare import compare_rungs
from luthier.evaluate.metrics import get_metric
from luthier.evaluate.power import power_notes
from luthier.evaluate.runner import measure
from luthier.evaluate.statistics import Resampling, Units, bootstrap_interval, figure_interval
from luthier.evaluate.task import Evaluation
from luthier.evaluate.tasks.encode import TextEncoder
from luthier.inference.decoding.stopping import Stopping

RESAMPLING = Resampling(0, 2000, 0.95)


def sample(index: int, said: str, right: str, **more: Any) -> SampleRecord:
    usual = {"group": "", "prompt": "", "choices": (), "scores": {}, "finish": "stop"}
    return SampleRecord(
        id=str(index), prediction=said, references=(right,), **{**usual, **more}
    )


def decide(
    rungs: dict[str, Collection[int]], n: int, group: Callable[[int], str] = lambda _: ""
) -> Any:
    """What is recommended of rungs that have some of ``n`` questions right."""
    evaluations = {}
    for name, right in rungs.items():
        samples = tuple(
            sample(index, "yes" if index in right else "no", "yes", group=group(index))
            for index in range(n)
        )
        metric = measure(get_metric("exact_match"), samples, RESAMPLING)
        evaluations[name] = Evaluation(evaluation_record("t", metric), samples)
    gains = compare_rungs("exact_match", evaluations, RESAMPLING)
    records = [
        RungRecord(
            name=name, status="done", metric=one.record.metrics[0], gain=gains.get(name)
        )
        for name, one in evaluations.items()
    ]
    return recommend(records, None, 0.05), gains
