"""What is recommended, and how sure it is, where that once was wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.records import evaluation_record

from luthier.config import Decoding
from luthier.evaluation.asking.encode import TextEncoder
from luthier.evaluation.comparison.paired import compare_rungs
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.runner import measure
from luthier.evaluation.statistics.bootstrap import (
    Resampling,
    Units,
    bootstrap_interval,
    figure_interval,
)
from luthier.evaluation.statistics.power import power_notes
from luthier.evaluation.task import Evaluation
from luthier.inference.local.decoding.stopping import Stopping
from luthier.ladder.recommendation import recommend
from luthier.records.evaluation import SampleRecord
from luthier.records.ladder import RungRecord

RESAMPLING = Resampling(0, 2000, 0.95)


def sample(index: int, said: str, right: str, **more: Any) -> SampleRecord:
    usual = {"group": "", "prompt": "", "choices": (), "scores": {}, "finish": "stop"}
    return SampleRecord(id=str(index), prediction=said, references=(right,), **{**usual, **more})


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
        RungRecord(name=name, status="done", metric=one.record.metrics[0], gain=gains.get(name))
        for name, one in evaluations.items()
    ]
    return recommend(records, None, 0.05), gains


def test_a_staircase_of_small_steps_is_climbed() -> None:
    rungs = {f"rung{k}": range(60 + 4 * k) for k in range(6)}
    answer, gains = decide(rungs, 120)
    assert answer.rung == "rung4"  # no step by itself is significant; rung5 adds 4 of 120 to it
    assert gains["rung4"].p_adjusted <= 0.05 < gains["rung5"].p_adjusted
    assert (gains["rung4"].baseline, gains["rung5"].baseline) == ("rung2", "rung4")
    assert "The best-measured rung, rung5, differs from it by +0.033" in answer.sentence
    assert "no dearer rung gains" not in answer.sentence


def in_groups_of_20(index: int) -> str:
    return str(index // 20)


@pytest.mark.parametrize("groups", [4, 5, 6, 7, 8])
def test_few_groups_choose_the_better_rung_or_say_that_they_cannot(groups: int) -> None:
    n = 20 * groups
    most = [index for index in range(n) if index % 7]
    ladder = {"zero": [], **{f"rung{k}": [] for k in range(1, 5)}, "best": most}
    answer, gains = decide(ladder, n, in_groups_of_20)
    assert gains["best"].difference == pytest.approx(len(most) / n)
    (note, *_) = power_notes(n, groups)
    if groups == 4:
        assert answer.rung is None
        assert "4 units of test examples cannot show any difference" in note
        assert gains["best"].detectable is None
        return
    assert answer.rung == "best"
    assert gains["best"].p_adjusted <= 0.05
    assert "at least 5" in note or "a gain in all 5 units" in note
    # No difference can be promised that the test cannot show.
    assert gains["best"].detectable is None or groups > 5


PAIRS = [str(index // 2) for index in range(20)]


def wilson_of_all_right(n: float) -> float:
    """Wilson's lower limit where all of ``n`` are right."""
    return float(1 / (1 + stats.norm.ppf(0.975) ** 2 / n))


def test_all_right_leaves_room_for_wrong_answers() -> None:
    def low(n: int, groups: list[str] | None) -> float:
        interval = bootstrap_interval(get_metric("acc"), np.ones((n, 1)), RESAMPLING, groups)
        assert interval.high == 1
        assert not interval.no_interval
        return interval.low

    alone, pairs = low(20, None), low(20, PAIRS)
    assert alone == pytest.approx(wilson_of_all_right(20), abs=1e-6)
    # Ten pairs that never disagree are ten units, of which there are few (Korn and Graubard 1998).
    few = (stats.t.ppf(0.975, 19) / stats.t.ppf(0.975, 9)) ** 2
    assert pairs == pytest.approx(wilson_of_all_right(10 * few), abs=1e-5)
    assert pairs < low(21, [""] * 19 + ["p", "p"]) < alone


@pytest.mark.parametrize(
    ("name", "said", "groups", "has_interval"),
    [
        ("exact_match", "a", None, True),
        ("all_right", "1", PAIRS, True),
        ("f1:1", "", None, False),
        ("matthews", "", None, False),
        ("bleu", "the cat sat on the mat", None, False),
    ],
)
def test_no_interval_has_no_width(
    name: str, said: str, groups: list[str] | None, *, has_interval: bool
) -> None:
    samples = []
    for index in range(20):
        text = said or str(index % 2)
        more = {"group": groups[index], "question_id": groups[index]} if groups else {}
        samples.append(sample(index, text, text, choices=("0", "1"), **more))
    metric = get_metric(name)
    interval = bootstrap_interval(metric, metric.measure(samples), RESAMPLING, groups)
    assert bool(interval.no_interval) != has_interval
    assert (interval.low < interval.high) == has_interval


@pytest.mark.parametrize(("size", "groups", "rate"), [(2, 20, 0.95), (4, 10, 0.95), (8, 5, 0.95)])
def test_grouped_shares_are_covered(size: int, groups: int, rate: float) -> None:
    """Groups that are alike: a third of the answers' variance lies between them."""
    generator = np.random.default_rng(3)
    metric, names = get_metric("acc"), [str(i // size) for i in range(size * groups)]
    covered = 0
    for seed in range(200):
        shares = generator.beta(rate * 2, (1 - rate) * 2, groups).repeat(size)
        right = (generator.random(size * groups) < shares).astype(float)
        interval = bootstrap_interval(metric, right[:, None], Resampling(seed, 200, 0.95), names)
        covered += interval.low <= rate <= interval.high or bool(interval.no_interval)
    # 3 standard errors of 200 draws below 0.92.
    assert covered / 200 >= 0.92 - 3 * (0.92 * 0.08 / 200) ** 0.5


def _uniform(generator: Any, n: int) -> Any:
    return generator.random(n) - generator.random(n)


def _skewed(generator: Any, n: int) -> Any:
    return generator.exponential(1, n) - 1


@pytest.mark.parametrize("draw", [_uniform, _skewed])
@pytest.mark.parametrize("n", [20, 60, 200])
def test_differences_with_many_ties_are_covered(n: int, draw: Callable[..., Any]) -> None:
    generator = np.random.default_rng(5)
    covered = 0
    for seed in range(200):
        differences = np.where(generator.random(n) < 0.8, 0, draw(generator, n))
        units = Units.of(differences[:, None])
        low, high = figure_interval(units, lambda s, c: s[..., 0] / c, Resampling(seed, 500, 0.95))
        covered += low <= 0 <= high
    assert covered / 200 >= 0.92 - 3 * (0.92 * 0.08 / 200) ** 0.5


@pytest.mark.parametrize(("offset", "scale"), [(1e6, 1.0), (1e8, 1.0), (1.7e9, 10.0), (0.0, 1e-7)])
def test_a_correlation_far_from_zero_is_scipys(offset: float, scale: float) -> None:
    generator = np.random.default_rng(0)
    z = generator.normal(0, 1, 60)
    said, right = offset + scale * z, offset + scale * (0.6 * z + generator.normal(0, 1, 60))
    samples = [
        sample(index, repr(float(x)), repr(float(y)))
        for index, (x, y) in enumerate(zip(said, right, strict=True))
    ]
    metric = get_metric("pearson")
    value = float(metric.aggregate(metric.measure(samples).sum(0), np.float64(60)))
    assert value == pytest.approx(stats.pearsonr(said, right)[0], abs=1e-6)


def test_a_stop_text_that_is_a_special_token_stops(bundled_handle: Any) -> None:
    tokenizer = bundled_handle.tokenizer
    turn, end = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    paris = tokenizer(" Paris")["input_ids"]
    ids = [*paris, turn, *tokenizer("\nuser\nWhat else?")["input_ids"]]
    stopping = Stopping(
        tokenizer, frozenset({end}), Decoding(max_new_tokens=50, stop=("<|im_end|>",))
    )
    assert not stopping.is_ended(paris)
    assert stopping.is_ended([*paris, turn])
    assert stopping.generation(ids).text == "Paris"


def test_a_cut_prompt_keeps_the_token_that_begins_texts(small_tokenizer: Any) -> None:
    from copy import deepcopy

    from tokenizers.processors import TemplateProcessing

    tokenizer = deepcopy(small_tokenizer)
    begin, number = tokenizer.bos_token, tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, number)]
    )
    encoder = TextEncoder(tokenizer, 12)
    text = "one two three four five six seven eight nine ten eleven twelve thirteen"
    (whole,) = encoder.pairs(text, [" yes"])
    cut = encoder.cut(whole, "x")
    assert len(whole.context) > 12
    assert len(cut.context) + len(cut.continuation) <= 13
    assert cut.context[0] == number
    assert cut.context[1:] == whole.context[len(whole.context) - len(cut.context) + 1 :]
