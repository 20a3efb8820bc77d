"""The planned duration of evaluations."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.planning import TrainingSetup, read_architecture
from luthier.planning.evaluation import (
    EvaluationWork,
    distinct_prefix_tokens,
    evaluation_seconds,
)
from luthier.planning.hardware import Cluster, Device
from luthier.planning.method_cost import Full
from luthier.planning.training_setup import PRECISIONS

DEVICE = Device("gpu", 2**34, bandwidth=1e11, flops={"float32": 1e12}, efficiency=0.5)
MODEL = read_architecture(
    {
        "model_type": "llama",
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 1000,
    },
    "config.json",
)
SETUP = TrainingSetup(tuning=Full(), precision=PRECISIONS["float32"], length=100)


def seconds(**changes: int) -> float:
    work = {"read_tokens": 10_000, "answers": 0, "answer_tokens": 0, "rows": 8, **changes}
    return evaluation_seconds(EvaluationWork(**work), MODEL, SETUP, Cluster(DEVICE))


@given(st.lists(st.lists(st.integers(0, 2), max_size=5), min_size=1, max_size=8))
def test_shared_prefixes_count_once(sequences: Sequence[Sequence[int]]) -> None:
    prefixes = {tuple(one[: end + 1]) for one in sequences for end in range(len(one))}
    assert distinct_prefix_tokens(sequences) == len(prefixes)


def test_reading_takes_the_models_products() -> None:
    """Two FLOPs for each parameter and token, and attention beside them."""
    flops = 2 * (MODEL.parameters - 1000 * 256) * 10_000
    assert seconds() == pytest.approx(flops / (1e12 * 0.5), rel=0.25)
    assert seconds(read_tokens=20_000) == pytest.approx(2 * seconds(), rel=0.01)


def test_each_further_token_reads_all_weights() -> None:
    reading = MODEL.parameters * 4 / 1e11
    more = seconds(answers=8, answer_tokens=50) - seconds()
    assert more == pytest.approx(50 * reading, rel=0.2)
    assert seconds(answers=16, answer_tokens=50) - seconds() == pytest.approx(2 * more, rel=0.01)
    assert seconds(answers=16, answer_tokens=50, rows=16) - seconds() < 1.9 * more
