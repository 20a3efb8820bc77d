"""The answer in words, for everything that can come out of a ladder."""

from __future__ import annotations

from typing import Any

import pytest
from tests.records import metric_result, training_record

from luthier.ladder.recommendation import is_at_target, recommend
from luthier.records.comparison import Comparison
from luthier.records.evaluation import MetricResult
from luthier.records.forgetting import Forgetting
from luthier.records.ladder import RungRecord


def metric(value: float, spread: float = 0.05, *, higher_is_better: bool = True) -> MetricResult:
    name = "rougeL" if higher_is_better else "error"
    return metric_result(
        name, value, below=spread, above=spread, n=100, higher_is_better=higher_is_better
    )


def gain(over: str, difference: float, p: float) -> Comparison:
    return Comparison(
        baseline=over,
        difference=difference,
        low=difference - 0.02,
        high=difference + 0.02,
        p=p / 2,
        p_adjusted=p,
        test="paired permutation",
        n=100,
    )


def forgetting(low: float, high: float) -> Forgetting:
    value = (low + high) / 2
    return Forgetting(
        value=value, low=low, high=high, n=9, before=3.0, after=3.0 + value, tokens=99, text="t"
    )


def done(name: str, value: float, compared: Comparison | None = None, **more: Any) -> RungRecord:
    figure = more.pop("metric", metric(value))
    return RungRecord(name=name, status="done", metric=figure, gain=compared, **more)


def tuned(name: str, value: float, compared: Comparison, **more: Any) -> RungRecord:
    record = more.pop("training", training_record())
    return done(
        name,
        value,
        compared,
        training=record,
        trained_parameters=record.trained_parameters,
        artifact_bytes=record.artifact_bytes,
        train_seconds=record.seconds,
        **more,
    )


ZERO = done("zero-shot", 0.20)
FEW = done("few-shot", 0.30, gain("zero-shot", 0.10, 0.001))
LORA = tuned("lora", 0.40, gain("few-shot", 0.10, 0.0004), forgetting=forgetting(0.01, 0.03))


def test_nothing_was_measured() -> None:
    skipped = RungRecord(name="lora", status="skipped", reason="the time budget is used up")
    failed = RungRecord(name="full", status="failed", reason="the loss is not finite")
    answer = recommend([skipped, failed], None, 0.05)
    assert answer.rung is None
    assert "nothing to recommend" in answer.sentence
    assert answer.reasons == (
        "lora was skipped: the time budget is used up.",
        "full failed: the loss is not finite.",
    )


def test_the_cheapest_that_reaches_the_target() -> None:
    answer = recommend([ZERO, FEW, LORA], 0.25, 0.05)
    assert answer.rung == "few-shot"
    assert "cheapest rung that reaches the target of 0.25 in rougeL" in answer.sentence
    assert answer.reasons == ("It needs no training, only the prompt.",)


def test_a_target_is_reached_at_its_very_value() -> None:
    assert recommend([ZERO, FEW], 0.30, 0.05).rung == "few-shot"


def test_a_caveat_where_the_interval_falls_short_of_the_target() -> None:
    answer = recommend([ZERO, FEW], 0.28, 0.05)
    assert answer.rung == "few-shot"
    assert answer.reasons[0].startswith("Its interval includes 0.250, short of the target")


def test_no_rung_reaches_the_target() -> None:
    answer = recommend([ZERO, LORA, FEW], 0.5, 0.05)
    assert answer.rung is None
    assert "the best is lora with 0.400 [0.350, 0.450]" in answer.sentence
    assert "a larger model" in answer.reasons[-1]


def test_the_last_real_gain() -> None:
    answer = recommend([ZERO, FEW, LORA], None, 0.05)
    assert answer.rung == "lora"
    assert "+0.100 (95% interval +0.080 to +0.120) over few-shot" in answer.sentence
    assert "p < 0.001 for a gain" in answer.sentence
    assert "It trains 921.6 k parameters in 1m 30s and makes a file of 1.0 MiB." in answer.reasons


def test_a_gain_that_may_be_chance_is_not_worth_it() -> None:
    chance = tuned("lora", 0.32, gain("few-shot", 0.02, 0.34))
    answer = recommend([ZERO, FEW, chance], None, 0.05)
    assert answer.rung == "few-shot"
    assert "The best-measured rung, lora, differs from it by +0.020 (95%" in answer.sentence
    assert answer.reasons[0] == (
        "No clear gain of lora: +0.020 (95% interval +0.000 to +0.040) against few-shot, "
        "p = 0.340, above 0.05."
    )


def test_the_level_is_inclusive() -> None:
    edge = done("few-shot", 0.30, gain("zero-shot", 0.10, 0.05))
    assert recommend([ZERO, edge], None, 0.05).rung == "few-shot"
    assert recommend([ZERO, edge], None, 0.049).rung == "zero-shot"


def test_worse_is_said_to_be_worse() -> None:
    worse = tuned("lora", 0.10, gain("few-shot", -0.20, 0.001))
    answer = recommend([ZERO, FEW, worse], None, 0.05)
    assert answer.rung == "few-shot"
    assert answer.reasons[0] == (
        "lora costs more and scored worse: −0.200 (95% interval −0.220 to −0.180) against few-shot."
    )


def test_no_rung_gains() -> None:
    same = done("few-shot", 0.21, gain("zero-shot", 0.01, 0.8))
    answer = recommend([ZERO, same], None, 0.05)
    assert answer.rung == "zero-shot"
    assert "No dearer rung gives a clear gain (α = 0.05, all pairs" in answer.sentence


def test_one_rung_alone() -> None:
    answer = recommend([ZERO], None, 0.05)
    assert (answer.rung, answer.sentence) == (
        "zero-shot",
        "Use zero-shot: 0.200 [0.150, 0.250] in rougeL.",
    )


def test_skipped_and_failed_rungs_are_mentioned_with_the_choice() -> None:
    skipped = RungRecord(name="full", status="skipped", reason="full needs about 9.0 GiB")
    answer = recommend([ZERO, FEW, skipped], None, 0.05)
    assert answer.rung == "few-shot"
    assert answer.warnings == (
        "full was not tried, and might do better: full needs about 9.0 GiB.",
    )
    assert not any("full" in reason for reason in answer.reasons)


def test_rungs_that_were_not_tried_for_one_reason_are_one_warning() -> None:
    late = [
        RungRecord(name=name, status="skipped", reason="the time budget is used up")
        for name in ("lora", "full")
    ]
    broken = RungRecord(name="prompt-tuning", status="failed", reason="the loss is not finite")
    for target in (None, 0.9):  # nothing reaches the target
        assert recommend([ZERO, FEW, broken, *late], target, 0.05).warnings[:2] == (
            "prompt-tuning failed, and might do better: the loss is not finite.",
            "lora and full were not tried, and might do better: the time budget is used up.",
        )


def test_rungs_behind_a_reached_target_are_no_warning() -> None:
    reason = "a cheaper rung has reached the target"
    skipped = RungRecord(name="full", status="skipped", reason=reason)
    answer = recommend([ZERO, FEW, skipped], 0.25, 0.05)
    assert answer.rung == "few-shot"
    assert not answer.warnings
    assert answer.reasons[-1] == f"full was skipped: {reason}."


@pytest.mark.parametrize(
    ("stopped", "words"),
    [("time", "cut short by the time limit"), ("forgetting", "stopped when forgetting exceeded")],
)
def test_training_cut_short_is_said(stopped: str, words: str) -> None:
    short = tuned(
        "lora", 0.40, gain("few-shot", 0.10, 0.001), training=training_record(stopped=stopped)
    )
    reasons = recommend([ZERO, FEW, short], None, 0.05).reasons
    assert any(words in reason for reason in reasons)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.03, "It forgot general text: the loss rose by +0.020"),
        (-0.03, -0.01, "Nothing was forgotten: the loss on general text fell, −0.020"),
        (-0.01, 0.03, "No forgetting was found: +0.010"),
    ],
)
def test_forgetting_in_words(low: float, high: float, words: str) -> None:
    rung = tuned("lora", 0.40, gain("few-shot", 0.10, 0.001), forgetting=forgetting(low, high))
    assert recommend([ZERO, FEW, rung], None, 0.05).reasons[-1].startswith(words)


def test_forgetting_without_an_interval_is_not_said_to_be_any() -> None:
    lost = forgetting(0.02, 0.02).model_copy(update={"no_interval": "one unit has no spread"})
    rung = tuned("lora", 0.40, gain("few-shot", 0.10, 0.001), forgetting=lost)
    said = recommend([ZERO, FEW, rung], None, 0.05).reasons[-1]
    assert said.startswith("Forgetting cannot be assessed")
    assert "one unit has no spread" in said


def test_a_metric_that_should_be_low() -> None:
    def error(value: float) -> MetricResult:
        return metric(value, higher_is_better=False)

    zero = done("zero-shot", 0, metric=error(0.40))
    few = done("few-shot", 0, gain("zero-shot", -0.20, 0.001), metric=error(0.20))
    lora = done("lora", 0, gain("few-shot", 0.10, 0.001), metric=error(0.30))
    assert recommend([zero, few, lora], None, 0.05).rung == "few-shot"
    at_target = recommend([zero, few, lora], 0.25, 0.05)
    assert at_target.rung == "few-shot"
    assert recommend([zero, few, lora], 0.1, 0.05).rung is None
    caveat = recommend([zero, few], 0.22, 0.05).reasons[0]
    assert caveat.startswith("Its interval includes 0.250, short of the target")


def test_at_target_needs_a_metric_and_a_target() -> None:
    assert is_at_target(done("lora", 0.3), 0.3)
    assert not is_at_target(done("lora", 0.29), 0.3)
    assert not is_at_target(RungRecord(name="lora", status="failed"), 0.3)
    assert not is_at_target(done("lora", 0.3), None)
    assert not is_at_target(done("lora", 0.3, unusable=LOOPS), 0.3)


def test_a_choice_two_steps_up_names_the_rung_it_was_compared_with() -> None:
    small = done("few-shot", 0.24, gain("zero-shot", 0.04, 0.2))
    lora = tuned("lora", 0.28, gain("zero-shot", 0.08, 0.01))
    full = tuned("full", 0.29, gain("lora", 0.01, 0.9))
    answer = recommend([ZERO, small, lora, full], None, 0.05)
    assert answer.rung == "lora"
    assert "over zero-shot" in answer.sentence
    assert "The best-measured rung, full, differs from it by +0.010" in answer.sentence


def test_too_few_units_recommend_nothing() -> None:
    few = gain("zero-shot", 0.8, 0.0625).model_copy(update={"units": 4})
    answer = recommend([ZERO, done("few-shot", 1.0, few)], None, 0.05)
    assert answer.rung is None
    assert "4 units of test examples cannot show any difference" in answer.sentence
    assert "at least 5 are needed" in answer.sentence
    assert "best-measured rung is few-shot with 1.000" in answer.sentence


LOOPS = "24 of its 24 answers repeat themselves until they are cut at the limit"


def test_a_rung_whose_answers_cannot_be_used_is_never_chosen() -> None:
    full = done("full", 0.9, gain("few-shot", 0.6, 0.001), unusable=LOOPS)
    answer = recommend([ZERO, FEW, full], None, 0.05)
    assert answer.rung == "few-shot"
    assert answer.reasons[0] == (
        "full is left out, whatever it scored (+0.600 (95% interval +0.580 to +0.620) against "
        f"few-shot): {LOOPS}."
    )
    assert "best-measured" not in answer.sentence


def test_the_choice_begins_with_the_cheapest_usable_rung() -> None:
    zero = done("zero-shot", 0.2, unusable=LOOPS)
    assert recommend([zero, FEW], None, 0.05).rung == "few-shot"
    better = done("few-shot", 0.21, gain("zero-shot", 0.01, 0.8))
    worse = done("few-shot", 0.15, gain("zero-shot", -0.05, 1.0))
    for first in (better, worse):
        answer = recommend(
            [zero, first, tuned("lora", 0.22, gain("few-shot", 0.01, 0.7))], None, 0.05
        )
        assert answer.rung == "few-shot"
        assert "It is the cheapest rung whose answers can be used." in answer.sentence
        assert (
            f"zero-shot is left out, whatever it scored ({zero.metric.value:.3f}"
            in answer.reasons[0]
        )
        assert LOOPS in answer.reasons[0]


def test_nothing_is_recommended_where_no_rung_is_usable() -> None:
    zero = done("zero-shot", 0.2, unusable=LOOPS)
    full = done("full", 0.9, gain("zero-shot", 0.7, 0.001), unusable=LOOPS)
    for ladder in ([zero], [zero, full]):
        answer = recommend(ladder, None, 0.05)
        assert answer.rung is None
        assert answer.sentence == (
            "No rung can be recommended: none gives answers that can be used."
        )
        assert len(answer.reasons) == len(ladder)


def test_a_target_is_never_reached_by_answers_that_cannot_be_used() -> None:
    full = done("full", 0.9, gain("zero-shot", 0.7, 0.001), unusable=LOOPS)
    alone = recommend([full], 0.5, 0.05)
    assert alone.rung is None
    assert "none gives answers that can be used" in alone.sentence
    beside = recommend([ZERO, full], 0.5, 0.05)
    assert beside.rung is None
    assert "the best is zero-shot with 0.200" in beside.sentence
    assert any("full is left out, whatever it scored" in reason for reason in beside.reasons)
    assert recommend([ZERO, full], 0.15, 0.05).rung == "zero-shot"


def test_a_figure_without_an_interval_says_so() -> None:
    alone = done("zero-shot", 0, metric=metric(1.0).model_copy(update={"no_interval": "few"}))
    assert recommend([alone], None, 0.05).sentence == (
        "Use zero-shot: 1.000 (no interval: few) in rougeL."
    )


def test_a_better_rung_that_cannot_be_used_is_not_denied() -> None:
    better = done("full", 0.9, gain("zero-shot", 0.7, 0.001), unusable=LOOPS)
    answer = recommend([ZERO, better], None, 0.05)
    assert answer.rung == "zero-shot"
    assert "No dearer rung gives answers that can be used." in answer.sentence
    assert "clear gain" not in answer.sentence
    between = done("few-shot", 0.21, gain("zero-shot", 0.01, 0.6))
    answer = recommend([ZERO, between, better], None, 0.05)
    assert "No dearer rung with usable answers gives a clear gain" in answer.sentence


def test_a_named_rung_that_cannot_be_used_is_warned_of() -> None:
    warning = f"Read the answers of full first: {LOOPS}."
    few = gain("zero-shot", 0.7, 0.001).model_copy(update={"units": 4})
    ladder = [ZERO, done("full", 0.9, few, unusable=LOOPS)]
    assert warning in recommend(ladder, None, 0.05).reasons


def test_a_one_sided_gain_whose_interval_holds_zero_is_explained() -> None:
    ladder = [ZERO, done("few-shot", 0.21, gain("zero-shot", 0.01, 0.04))]
    answer = recommend(ladder, None, 0.05)
    assert answer.rung == "few-shot"
    assert "one-sided" in answer.reasons[0]
    assert not any("one-sided" in reason for reason in recommend([ZERO, FEW], None, 0.05).reasons)


@pytest.mark.parametrize(
    ("p", "alpha", "shown"), [(0.0502, 0.05, "0.0502"), (0.0008, 0.0005, "0.0008")]
)
def test_a_p_value_that_rounds_to_the_level_is_shown_above_it(
    p: float, alpha: float, shown: str
) -> None:
    answer = recommend([ZERO, done("few-shot", 0.3, gain("zero-shot", 0.1, p))], None, alpha)
    assert f"p = {shown}, above {alpha:g}." in answer.reasons[0]


def test_a_baseline_that_is_enough_says_so() -> None:
    linear = done("linear", 0.9, gain("majority", 0.5, 0.001), train_seconds=2.0)
    answer = recommend([done("majority", 0.4), linear], None, 0.05)
    assert answer.rung == "linear"
    assert "You do not need a language model here." in answer.sentence
    assert "It was learned in 2.0 s." in answer.reasons


def test_doubts_stand_above_the_result() -> None:
    coarse = gain("zero-shot", 0.10, 0.001).model_copy(update={"detectable": 0.29, "n": 22})
    few = done("few-shot", 0.30, coarse, truncated=40)
    answer = recommend([ZERO, few], None, 0.05)
    assert answer.warnings == (
        "few-shot: 40 of 100 answers were cut at the token limit; raise evaluate.max_new_tokens.",
        "With 22 examples you can detect differences of 0.290 or more between two rungs tested by "
        "themselves (80 % power, α = 0.05). Four times as many examples would halve that.",
    )
    assert not any("detect" in reason for reason in answer.reasons)
    grouped = coarse.model_copy(update={"units": 8})
    (_, power) = recommend([ZERO, few.model_copy(update={"gain": grouped})], None, 0.05).warnings
    assert power.startswith("With 22 examples in 8 groups you can detect")
    assert power.endswith("Four times as many groups would halve that.")


@pytest.mark.parametrize(
    ("units", "warned"),
    [(4, "cannot show any"), (5, "all 5 units, between two"), (8, "at least 5")],
)
def test_few_groups_are_warned_of_above_the_result(units: int, warned: str) -> None:
    alike = gain("zero-shot", 0.0, 1.0).model_copy(
        update={"detectable": None, "n": 105, "units": units}
    )
    answer = recommend([ZERO, done("few-shot", 0.20, alike)], None, 0.05)
    assert f"in {units} groups" in answer.warnings[0]
    assert warned in answer.warnings[0]


def test_an_interval_above_zero_beside_a_large_p_value_is_explained() -> None:
    apart = gain("zero-shot", 0.10, 0.25).model_copy(update={"low": 0.031, "high": 0.25})
    answer = recommend([ZERO, done("few-shot", 0.30, apart)], None, 0.05)
    assert answer.rung == "zero-shot"
    assert answer.reasons[0].endswith(
        "The interval is of this pair only, while p is corrected for all pairs."
    )


def test_a_model_below_the_majority_is_explained() -> None:
    majority = done("majority", 0.4)
    why = "93 of its 100 answers are 'account', right for 28"
    below = done("zero-shot", 0.3, gain("majority", -0.1, 0.99), one_sided=why)
    above = done("few-shot", 0.45, gain("majority", 0.05, 0.3), one_sided=why)
    reasons = recommend([majority, below, above], None, 0.05).reasons
    (told,) = [reason for reason in reasons if "most frequent answer" in reason]
    assert told.startswith(
        f"zero-shot does worse than always giving the most frequent answer: {why}."
    )
    assert "evaluate.calibrate=true" in told


def test_a_baseline_that_nothing_beats_is_not_said_to_be_enough() -> None:
    few = done("few-shot", 0.45, gain("majority", 0.05, 0.3))
    answer = recommend([done("majority", 0.4), few], None, 0.05)
    assert answer.rung == "majority"
    assert "No language model is shown to beat it on these examples." in answer.sentence
    assert "do not need" not in answer.sentence
