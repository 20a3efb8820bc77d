from __future__ import annotations

from collections.abc import Callable

import pytest

from luthier.core.errors import DataError
from luthier.evaluation.comparison.paired import align_samples, compare_evaluations, compare_rungs
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.task import Evaluation

Make = Callable[..., Evaluation]

WORDS = ["red", "green", "blue", "white", "black", "brown", "pink", "grey", "gold", "teal"]
REFERENCES = [f"the {word} door is {word}" for word in WORDS]
WRONG = ["a wall" for _ in WORDS]
PARTLY = [f"the {word} door" for word in WORDS]


def test_a_better_system(evaluation: Make, resampling: Resampling) -> None:
    comparison = compare_evaluations(
        "rouge1",
        evaluation(WRONG, REFERENCES),
        evaluation(REFERENCES, REFERENCES),
        "wrong",
        resampling,
    )
    assert comparison.baseline == "wrong"
    assert (comparison.difference, comparison.n) == (1.0, 10)
    assert comparison.test == "exact McNemar"
    assert comparison.p == comparison.p_adjusted == pytest.approx(2 / 2**10)


def test_the_metric_is_computed_from_the_answers_not_from_stored_scores(
    evaluation: Make, resampling: Resampling
) -> None:
    better, worse = evaluation(PARTLY, REFERENCES, value=0.0), evaluation(WRONG, REFERENCES)
    comparison = compare_evaluations("chrf", worse, better, "wrong", resampling)
    assert comparison.difference > 30
    assert comparison.low > 0
    assert "approximate randomisation" in comparison.test


def test_samples_are_paired_by_id(evaluation: Make) -> None:
    a = evaluation(WRONG, REFERENCES).samples
    b = evaluation(PARTLY, REFERENCES).samples
    left, right = align_samples(a, b[::-1])
    assert (left, right) == (list(a), list(b))


def test_other_examples_are_refused(evaluation: Make) -> None:
    samples = evaluation(WRONG, REFERENCES).samples
    with pytest.raises(DataError, match=r"3 of the examples .* \(8 and 9 examples\)"):
        align_samples(samples[:8], samples[1:])
    with pytest.raises(DataError, match="2 of the examples"):
        align_samples(samples[:8], samples)


def test_other_references_are_refused(evaluation: Make) -> None:
    changed = [*REFERENCES[:-1], "something else"]
    with pytest.raises(DataError, match="references of 1 examples differ"):
        align_samples(evaluation(WRONG, REFERENCES).samples, evaluation(WRONG, changed).samples)


def test_another_template_is_refused(evaluation: Make, resampling: Resampling) -> None:
    a = evaluation(WRONG, REFERENCES, template_hash="aa")
    b = evaluation(WRONG, REFERENCES, template_hash="bb")
    with pytest.raises(DataError, match="different templates"):
        compare_evaluations("rouge1", a, b, "a", resampling)


def test_every_rung_is_compared_with_the_choice_among_the_cheaper_ones(
    evaluation: Make, resampling: Resampling
) -> None:
    rungs = {
        "zero-shot": evaluation(PARTLY, REFERENCES, value=0.7),
        "few-shot": evaluation(WRONG, REFERENCES, value=0.0),
        "lora": evaluation(REFERENCES, REFERENCES, value=1.0),
        "full": evaluation(REFERENCES, REFERENCES, value=1.0),
        "more": evaluation(REFERENCES, REFERENCES, value=1.0),
    }
    comparisons = compare_rungs("rouge1", rungs, resampling)
    assert {name: comparison.baseline for name, comparison in comparisons.items()} == {
        "few-shot": "zero-shot",
        "lora": "zero-shot",
        "full": "lora",
        "more": "lora",
    }
    assert comparisons["few-shot"].difference < 0 < comparisons["lora"].difference
    assert comparisons["lora"].p < comparisons["lora"].p_adjusted < 0.01
    assert comparisons["full"].p_adjusted == 1.0


def test_one_rung_has_nothing_to_be_compared_with(evaluation: Make, resampling: Resampling) -> None:
    assert compare_rungs("rouge1", {"lora": evaluation(["a"], ["a"])}, resampling) == {}


def test_a_staircase_of_small_steps_ends_at_a_real_gain(
    evaluation: Make, resampling: Resampling
) -> None:
    """No rung is really better than the one before it, and the last is better than the first."""
    references = [f"right {number}" for number in range(120)]

    def rung(right: int) -> Evaluation:
        return evaluation([*references[:right], *["wrong"] * (120 - right)], references)

    rungs = {f"rung {k}": rung(60 + 4 * k) for k in range(6)}
    gains = compare_rungs("exact_match", rungs, resampling)
    assert [gain.baseline for gain in gains.values()] == [
        *("rung 0", "rung 0", "rung 2", "rung 2", "rung 4")
    ]
    assert gains["rung 1"].p_adjusted > 0.05 > gains["rung 2"].p_adjusted


def test_rungs_that_are_equally_good_are_not_climbed(
    evaluation: Make, resampling: Resampling
) -> None:
    rungs = {
        name: evaluation(answers, REFERENCES)
        for name, answers in (("a", WRONG), ("b", REFERENCES), ("c", REFERENCES))
    }
    gains = compare_rungs("exact_match", rungs, resampling)
    assert (gains["b"].baseline, gains["c"].baseline) == ("a", "b")
    assert gains["c"].p_adjusted == 1.0


def test_a_rung_that_cannot_be_used_is_compared_and_not_chosen(
    evaluation: Make, resampling: Resampling
) -> None:
    rungs = {
        name: evaluation(answers, REFERENCES)
        for name, answers in (("a", WRONG), ("b", REFERENCES), ("c", REFERENCES))
    }
    gains = compare_rungs("exact_match", rungs, resampling, unusable={"b"})
    assert (gains["b"].baseline, gains["c"].baseline) == ("a", "a")
