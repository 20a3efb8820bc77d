"""No figure leaves the bounds of its metric, and none is undefined, whatever the answers are."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from luthier.evaluation.metrics import get_metric, known_metrics
from luthier.evaluation.metrics.base import within
from luthier.records.evaluation import SampleRecord

WORDS = [*"abcdefghij", "the", "cat", "sat", "on", "hill", ".", ",", "½", "猫"]
LABELS = ("a", "b", "c")
Says = Callable[[random.Random, str], str]


def some_words(rng: random.Random, _reference: str) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(0, 12)))


SAID: dict[str, Says] = {
    "as the reference": lambda _rng, reference: reference,
    "some words": some_words,
    "nothing": lambda _rng, _reference: "",
    "only signs": lambda _rng, _reference: "…?! — 。",
    "another script": lambda _rng, _reference: "猫が好き",
}


def texts(says: Says, count: int = 12) -> list[SampleRecord]:
    rng = random.Random(3)
    found = []
    for number in range(count):
        reference = " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 12)))
        found.append(
            SampleRecord(
                id=str(number), prompt="", prediction=says(rng, reference),
                references=(reference, *(["a b"] if number % 2 else [])), scores={},
                finish="stop", question_id=str(number // 3),
            )
        )  # fmt: skip
    return found


def labels(right: float, count: int = 12) -> list[SampleRecord]:
    """Labels that are likely, and as likely right."""
    rng = random.Random(5)
    found = []
    for number in range(count):
        gold = rng.choice(LABELS)
        said = gold if rng.random() < right else rng.choice(LABELS)
        logprobs = tuple(-1e-9 if label == said else rng.uniform(-40, -1) for label in LABELS)
        found.append(
            SampleRecord(
                id=str(number), prompt="", prediction=said, references=(gold,), choices=LABELS,
                words=tuple(f" {label}" for label in LABELS), likelihoods=logprobs, scores={},
                finish="stop", question_id=str(number // 3),
            )
        )  # fmt: skip
    return found


def rated(spread: float, count: int = 12) -> list[SampleRecord]:
    rng = random.Random(7)
    rows = [(rng.uniform(0, 5), rng.uniform(0, spread)) for _ in range(count)]
    return [
        SampleRecord(
            id=str(n), prompt="", prediction=f"{x + noise}", references=(f"{x}",), scores={},
            finish="stop",
        )
        for n, (x, noise) in enumerate(rows)
    ]  # fmt: skip


OF_TEXTS = (
    "rouge1", "rouge2:stem", "rougeL", "rougeLsum", "bleu", "chrf", "chrf++", "ter", "exact_match",
    "em", "token_f1", "numeric", "numeric:last", "distinct:1", "distinct:2", "words",
    "length_ratio", "all_right", "parity", "pass@1", "pass@3", "majority",
)  # fmt: skip
OF_LABELS = (
    "acc", "acc_norm", "acc_bytes", "mc1", "mc2", "ece", "f1:a", "macro_f1", "matthews", "accuracy",
    "precision:a", "recall:a", "balanced_accuracy", "all_right", "parity",
)  # fmt: skip
OF_NUMBERS = ("pearson", "spearman")
ELSEWHERE = {  # of likelihoods of texts, and of extractors
    "match", "greedy_acc", "perplexity", "word_perplexity", "byte_perplexity",
    "token_perplexity", "bits_per_byte",
}  # fmt: skip


def test_every_metric_is_tried() -> None:
    tried = {name.partition(":")[0] for name in (*OF_TEXTS, *OF_LABELS, *OF_NUMBERS)}
    tried = {"pass@k" if name.startswith("pass@") else name for name in tried}
    assert tried | ELSEWHERE >= set(known_metrics())


def require_within(name: str, samples: Sequence[SampleRecord]) -> None:
    """All of them, each alone, and many samples of them."""
    metric = get_metric(name)
    stats = metric.measure(samples)
    count = len(samples)
    draws = np.random.default_rng(0).multinomial(count, [1 / count] * count, size=200)
    values = np.concatenate(
        [
            np.atleast_1d(metric.aggregate(stats.sum(axis=0), np.array(float(count)))),
            metric.per_sample(stats),
            metric.aggregate(draws.astype(float) @ stats, np.full(200, float(count))),
        ]
    )
    low, high = metric.bounds
    assert np.isfinite(values).all()
    assert ((values >= low) & (values <= high)).all()


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("name", OF_TEXTS)
def test_metrics_of_texts(name: str, said: str) -> None:
    require_within(name, texts(SAID[said]))
    require_within(name, texts(SAID[said], 3))


@pytest.mark.parametrize("right", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", OF_LABELS)
def test_metrics_of_labels(name: str, right: float) -> None:
    require_within(name, labels(right))
    require_within(name, labels(right, 3))


@pytest.mark.parametrize("spread", [0.0, 1e-9, 3.0])
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_metrics_of_numbers(name: str, spread: float) -> None:
    require_within(name, rated(spread))
    require_within(name, rated(spread, 3))


@pytest.mark.parametrize("name", ["bleu", "chrf", "chrf++"])
def test_all_right_is_a_hundred(name: str) -> None:
    metric = get_metric(name)
    stats = metric.measure(texts(SAID["as the reference"]))
    assert metric.aggregate(stats.sum(axis=0), np.array(12.0)) == pytest.approx(100, abs=1e-9)
    assert metric.aggregate(stats.sum(axis=0), np.array(12.0)) <= 100


def test_rounding_is_put_right_and_a_wrong_formula_is_not_hidden() -> None:
    assert within(np.array([100 + 4e-14, 50.0, -1e-17]), (0, 100)).tolist() == [100.0, 50.0, 0.0]
    assert within(np.array([100.1, np.inf]), (0, 100)).tolist() == [100.1, np.inf]
