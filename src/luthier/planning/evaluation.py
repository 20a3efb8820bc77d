"""The duration of an evaluation: prompts read once, and answers generated token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from math import ceil

from luthier.planning.architecture import Architecture
from luthier.planning.hardware import Cluster
from luthier.planning.memory import pass_cost
from luthier.planning.time import forward_time
from luthier.planning.training_setup import TrainingSetup

_WIDEST_PASS = 1024
"""Tokens of a forward pass over prompts."""


@dataclass(frozen=True, slots=True)
class EvaluationWork:
    """The work of an evaluation.

    Attributes:
        read_tokens: the tokens of all prompts, and of scored choices, with shared prefixes once.
        answers: the number of generated answers.
        answer_tokens: the tokens of a generated answer, at most; 0 if answers are only scored.
        rows: the number of answers that are generated together.
    """

    read_tokens: int
    answers: int
    answer_tokens: int
    rows: int


def distinct_prefix_tokens(sequences: Sequence[Sequence[int]]) -> int:
    """The number of tokens of sequences whose common prefixes are computed once.

    It is the number of nodes of their prefix tree.
    """
    ordered = sorted(map(tuple, sequences))
    repeated = sum(
        sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
        for one, other in pairwise(ordered)
    )
    return sum(map(len, ordered)) - repeated


def evaluation_seconds(
    work: EvaluationWork, architecture: Architecture, setup: TrainingSetup, cluster: Cluster
) -> float:
    """Seconds of an evaluation on one device; generated answers are assumed to reach their limit.

    Prompts are limited by products, and each further token of a batch of answers by reading all
    weights, whichever takes longer (the roofline of Williams et al. 2009).

    Args:
        work: the work.
        architecture: the model.
        setup: its precision, and a typical prompt's length.
        cluster: the device.

    Raises:
        UsageError: the device does not support the setup's dtype.
    """
    length = min(setup.length, max(work.read_tokens, 1))
    rows = max(1, min(_WIDEST_PASS, work.read_tokens) // length)
    reading = _with_shape(setup, rows, length)
    passes = work.read_tokens / (rows * length)
    seconds = passes * forward_time(reading, cluster, pass_cost(architecture, reading))
    if not (work.answers and work.answer_tokens):
        return seconds
    together = min(work.rows, work.answers)
    step = _with_shape(setup, together, 1)
    weights = architecture.active_parameters * setup.precision.weights
    token = max(
        forward_time(step, cluster, pass_cost(architecture, step)),
        weights / cluster.device.bandwidth,
    )
    return seconds + ceil(work.answers / together) * work.answer_tokens * token


def _with_shape(setup: TrainingSetup, rows: int, length: int) -> TrainingSetup:
    return replace(setup, batch=rows, length=length, predicted=rows)
