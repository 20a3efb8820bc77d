"""A model that answers ``the the the`` is never recommended, whatever it scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

from luthier.core.console import Console
from luthier.evaluation import Evaluation, Resampling, compare_rungs, unusable_answers
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.runner import judge
from luthier.ladder.recommendation import is_at_target, recommend
from luthier.records.evaluation import (
    EvaluationRecord,
    ModelStamp,
    SampleRecord,
    TemplateStamp,
)
from luthier.records.ladder import Recommendation, RungRecord

DRAWN = Resampling(seed=0, resamples=200, confidence=0.95)
STAMP = ModelStamp(id="model", parameters=1, dtype="float32", architecture="Model")
NUMBER = 40
REFERENCES = [f"the man and the woman talk about the house number {n}" for n in range(NUMBER)]
LABELS = ["normal"] * 30 + ["urgent"] * 10

Finish = Literal["stop", "length"]


def texts(*answers: str, finish: Finish = "stop") -> list[SampleRecord]:
    """Answers to open questions, in turns."""
    return [
        SampleRecord(
            id=str(n),
            prompt=f"Question {n}",
            prediction=answers[n % len(answers)],
            references=(reference,),
            scores={},
            finish=finish,
        )
        for n, reference in enumerate(REFERENCES)
    ]


def choices(answers: Sequence[str]) -> list[SampleRecord]:
    """Answers that were chosen among two labels."""
    names = ("normal", "urgent")
    return [
        SampleRecord(
            id=str(n),
            prompt=f"Ticket {n}",
            prediction=answer,
            references=(label,),
            choices=names,
            words=names,
            likelihoods=tuple(-0.1 if name == answer else -3.0 for name in names),
            scores={},
            finish="stop",
        )
        for n, (answer, label) in enumerate(zip(answers, LABELS, strict=True))
    ]


def climbed(
    metric: str, rungs: dict[str, list[SampleRecord]], target: float | None = None
) -> tuple[Recommendation, dict[str, RungRecord]]:
    """The recommendation of a ladder with these answers, as `run_ladder` makes it."""
    evaluations, records = {}, []
    for name, samples in rungs.items():
        results, scored = judge(samples, [get_metric(metric)], DRAWN, Console(quiet=True))
        cut = sum(sample.finish == "length" for sample in samples)
        record = EvaluationRecord(
            task="rows",
            split="test",
            model=STAMP,
            template=TemplateStamp(id="as-is", hash="00"),
            shots=0,
            chat_template=False,
            metrics=results,
            seconds=1.0,
            generated_tokens=1,
            prompt_tokens=1,
            truncated_outputs=cut,
            versions={},
        )
        evaluations[name] = Evaluation(record, scored)
        unusable = unusable_answers(scored)
        more = {"metric": results[0], "metrics": results, "truncated": cut}
        records.append(RungRecord(name=name, status="done", unusable=unusable, **more))
    left_out = frozenset(one.name for one in records if one.unusable)
    gains = compare_rungs(metric, evaluations, DRAWN, 0.05, left_out)
    whole = [one.model_copy(update={"gain": gains.get(one.name)}) for one in records]
    return recommend(whole, target, 0.05), {one.name: one for one in whole}


POOR = texts("they speak", "someone walks home", "it is late today")
GOOD = [
    sample.model_copy(update={"prediction": reference})
    for sample, reference in zip(POOR, REFERENCES, strict=True)
]
THE = {
    "the same words": texts("the the the"),
    "other words each time": texts("the the the", "and and and", "the man the man the man"),
    "cut at the limit": texts("talk about " + "the and " * 40, finish="length"),
    "after a beginning": texts("the man and the and the and the and the and the and the"),
}


@pytest.mark.parametrize("answers", THE.values(), ids=THE)
@pytest.mark.parametrize("target", [None, 0.15])
def test_repetitions_are_never_recommended(
    answers: list[SampleRecord], target: float | None
) -> None:
    """They score above an untuned model that answers, and significantly so."""
    answer, rungs = climbed("rouge1", {"zero-shot": POOR, "lora": answers}, target)
    lora = rungs["lora"]
    assert lora.metric.value > rungs["zero-shot"].metric.value + 0.1
    assert lora.gain.p_adjusted < 0.05
    assert lora.unusable
    assert not is_at_target(lora, 0.15)
    assert answer.rung == (None if target else "zero-shot")
    assert any("lora is left out, whatever it scored" in reason for reason in answer.reasons)


def test_a_ladder_of_repetitions_recommends_nothing() -> None:
    answer, _ = climbed(
        "rouge1", {"zero-shot": THE["the same words"], "lora": texts("and and and")}
    )
    assert answer.rung is None
    assert "none gives answers that can be used" in answer.sentence


def test_a_better_rung_after_a_repetition_is_found() -> None:
    ladder = {"zero-shot": POOR, "lora": THE["other words each time"], "full": GOOD}
    answer, rungs = climbed("rouge1", ladder)
    assert answer.rung == "full"
    assert rungs["full"].gain.baseline == "zero-shot"


def test_one_label_for_everything_is_no_classification() -> None:
    """Always the most frequent label is right three times in four; a model that tries is not."""
    tries = ["normal" if n % 2 else "urgent" for n in range(NUMBER)]
    ladder = {"zero-shot": choices(tries), "lora": choices(["normal"] * NUMBER)}
    for target in (None, 0.7):
        answer, rungs = climbed("accuracy", ladder, target)
        assert rungs["lora"].metric.value == 0.75 > rungs["zero-shot"].metric.value
        assert answer.rung == (None if target else "zero-shot")
        assert rungs["lora"].unusable == "all its 40 answers are 'normal'"


def test_the_majority_baseline_may_say_the_same() -> None:
    """A baseline is one answer by design, and says that nothing better was found."""
    tries = ["normal" if n % 2 else "urgent" for n in range(NUMBER)]
    ladder = {"majority": choices(["normal"] * NUMBER), "zero-shot": choices(tries)}
    _, rungs = climbed("accuracy", ladder)
    majority = rungs["majority"].model_copy(update={"unusable": ""})
    answer = recommend([majority, rungs["zero-shot"]], None, 0.05)
    assert answer.rung == "majority"
