"""The result in one sentence: counts of right answers, the rung in words, and what it beats."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.records.evaluation import MetricResult, ModelStamp, TemplateStamp
from luthier.records.ladder import LadderRecord, Recommendation, RungRecord
from luthier.reports.headline import ladder_headline, noun_of

N = 100


def rung(name: str, value: float | None, metric: str = "accuracy", **more: Any) -> RungRecord:
    if value is None:
        return RungRecord(name=name, status="skipped", reason="no memory")
    higher = metric != "ter"
    result = MetricResult(
        value=value, low=0, high=1, n=N, name=metric, signature=metric, higher_is_better=higher
    )
    return RungRecord(name=name, status="done", metric=result, **more)


def headline(
    chosen: str | None, *rungs: RungRecord, task: str = "tickets", target: float | None = None
) -> str:
    model = ModelStamp(id="m", parameters=1, dtype="float32", architecture="A")
    return ladder_headline(
        LadderRecord(
            task=task, split="test", metric=next((r.metric.name for r in rungs if r.metric), "x"),
            target=target, alpha=0.05, examples={"train": 9}, model=model,
            template=TemplateStamp(id="t", hash="h"), rungs=rungs, seconds=1.0,
            recommendation=Recommendation(rung=chosen, sentence="", reasons=()),
        )
    )  # fmt: skip


MAJORITY, LINEAR = rung("majority", 0.3), rung("linear", 0.5)
ZERO, FEW, LORA = rung("zero-shot", 0.02), rung("few-shot", 0.09), rung("lora", 0.66)


@pytest.mark.parametrize(
    ("chosen", "rungs", "said"),
    [
        ("lora", (ZERO, FEW, LORA),
         "Tune with LoRA: 66 of 100 tickets right, against 9 with examples in the prompt"),
        ("lora", (MAJORITY, LINEAR, ZERO, FEW, LORA),
         "Tune with LoRA: 66 of 100 tickets right, against 9 with examples in the prompt and 50 "
         "with a linear classifier"),
        ("lora", (LORA,), "Tune with LoRA: 66 of 100 tickets right"),
        ("few-shot", (MAJORITY, ZERO, rung("few-shot", 0.6), LORA),
         "Put examples in the prompt: 60 of 100 tickets right, against 2 without examples and 30 "
         "with the most frequent answer"),
        ("zero-shot", (rung("zero-shot", 0.5), LORA),
         "Ask without examples: 50 of 100 tickets right"),
        ("linear", (MAJORITY, rung("linear", 0.98), FEW, LORA),
         "You do not need a language model: a linear classifier gets 98 of 100 tickets right, "
         "against 66 with LoRA"),
        ("linear", (rung("linear", 0.65), LORA),
         "You do not need a language model: a linear classifier gets 65 of 100 tickets right, "
         "against 66 with LoRA, which chance may explain"),
        ("linear", (MAJORITY, LINEAR),
         "A linear classifier: 50 of 100 tickets right. No language model was measured"),
        ("majority", (MAJORITY, LINEAR, ZERO),
         "No rung is shown to beat the most frequent answer: 30 of 100 tickets right, against 50 "
         "with a linear classifier, which chance may explain"),
        ("majority", (MAJORITY, LINEAR, rung("lora", None)),
         "No rung that was tried is shown to beat the most frequent answer: 30 of 100 tickets "
         "right, against 50 with a linear classifier, which chance may explain"),
        ("full", (ZERO, rung("full", 0.7)),
         "Use full fine-tuning: 70 of 100 tickets right, against 2 without examples"),
        ("bitfit", (rung("bitfit", 1.0),), "Tune with BitFit: 100 of 100 tickets right"),
        ("prompt-tuning", (rung("prompt-tuning", 1.0),),
         "Use prompt tuning: 100 of 100 tickets right"),
        ("something", (rung("something", 1.0),), "Tune with something: 100 of 100 tickets right"),
    ],
)  # fmt: skip
def test_right_answers_are_counted(chosen: str, rungs: tuple[RungRecord, ...], said: str) -> None:
    assert headline(chosen, *rungs) == said


@pytest.mark.parametrize(
    ("values", "metric", "said"),
    [
        ((0.22, 0.281), "rougeL", "ROUGE-L 0.28, against 0.22 with"),
        ((0.2812, 0.2837), "rougeL", "ROUGE-L 0.284, against 0.281 with"),
        ((0.28, 0.28), "rougeL", "ROUGE-L 0.28, against 0.28 with"),
        ((22.41, 28.06), "bleu", "BLEU 28.1, against 22.4 with"),
        ((0.5, 0.7512), "balanced_accuracy", "balanced accuracy 0.75, against 0.50 with"),
        ((0.5, 0.755), "accuracy", "accuracy 0.76, against 50 with"),
    ],
)
def test_other_values_have_as_many_digits_as_tell_them_apart(
    values: tuple[float, float], metric: str, said: str
) -> None:
    few, lora = (rung(n, v, metric) for n, v in zip(("few-shot", "lora"), values, strict=True))
    assert said in headline("lora", few, lora)


def test_the_best_of_a_metric_where_lower_is_better_is_the_lowest() -> None:
    rungs = [rung("zero-shot", 0.9, "ter"), rung("few-shot", 0.7, "ter"), rung("lora", 0.4, "ter")]
    said = "Tune with LoRA: TER 0.40, against 0.70 with examples in the prompt"
    assert headline("lora", *rungs) == said


@pytest.mark.parametrize(
    ("rungs", "target", "said"),
    [
        ((), None, "No rung was measured, so there is nothing to recommend"),
        ((rung("lora", None),), 0.5, "No rung was measured, so there is nothing to recommend"),
        ((ZERO, LORA), 0.8,
         "No rung reaches the target of accuracy 0.8: the best, lora, gets 66 of 100 tickets "
         "right"),
        ((rung("lora", 0.3, "rougeL"),), 0.8,
         "No rung reaches the target of ROUGE-L 0.8: the best, lora, reaches ROUGE-L 0.30"),
        ((rung("lora", 0.3, unusable="all empty"),), None,
         "No rung can be recommended: none gives answers that can be used"),
        ((ZERO, LORA), None,
         "No rung can be recommended: the test examples show no difference. The best, lora, gets "
         "66 of 100 tickets right"),
    ],
)  # fmt: skip
def test_without_a_recommendation_the_reason_is_said(
    rungs: tuple[RungRecord, ...], target: float | None, said: str
) -> None:
    assert headline(None, *rungs, target=target) == said


def test_a_baseline_at_the_target_needs_no_language_model() -> None:
    said = headline("majority", rung("majority", 0.9), target=0.8)
    assert said.startswith("Always the most frequent answer: 90 of 100 tickets right")
    said = headline("majority", rung("majority", 0.9), LORA, target=0.8)
    assert said.startswith("You do not need a language model: always the most frequent answer gets")


@pytest.mark.parametrize(
    ("task", "noun"),
    [
        ("tickets", "tickets"), ("my-tickets", "tickets"), ("Support Tickets", "tickets"),
        ("python-docstrings", "docstrings"), ("glue/rte", "examples"), ("sms", "examples"),
        ("physics", "examples"), ("analysis", "examples"), ("tickets2", "examples"),
        ("business", "examples"), ("", "examples"), ("<b>s", "examples"), ("queue", "examples"),
    ],
)  # fmt: skip
def test_the_noun_is_the_plural_at_the_end_of_the_task_name(task: str, noun: str) -> None:
    assert noun_of(task) == noun


def test_one_example_is_one_ticket() -> None:
    lone = rung("lora", 1.0)
    assert lone.metric
    single = lone.model_copy(update={"metric": lone.metric.model_copy(update={"n": 1})})
    assert headline("lora", single) == "Tune with LoRA: 1 of 1 ticket right"
