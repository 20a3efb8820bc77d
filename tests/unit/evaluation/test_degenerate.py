from __future__ import annotations

import pytest

from luthier.evaluation.degenerate import repeats_itself, unusable_answers
from luthier.records.evaluation import SampleRecord


def sample(prediction: str, finish: str = "length", **more: object) -> SampleRecord:
    values = {"id": "1", "prompt": "", "references": ("a talk",), "scores": {}, **more}
    return SampleRecord.model_validate({**values, "prediction": prediction, "finish": finish})


@pytest.mark.parametrize(
    "text",
    [
        "#Person1# #Person1# #Person1# #Person1#",
        "He says and and and and and an",
        "!" * 20,
        "They talk. They talk. They talk. They ta",
        "ははははははははははははははははは",
    ],
)
def test_loops_are_noticed_wherever_they_are_cut(text: str) -> None:
    assert repeats_itself(text)


@pytest.mark.parametrize(
    "text", ["", "no no no", "A long answer that says one thing and then says another one.", "1000"]
)
def test_ordinary_texts_do_not_repeat_themselves(text: str) -> None:
    assert not repeats_itself(text)


def test_a_system_is_unusable_where_most_answers_are() -> None:
    loop = sample("and and and and and and and")
    assert unusable_answers([loop] * 24) == (
        "24 of its 24 answers repeat themselves until they are cut at the limit"
    )
    assert unusable_answers([sample(" ", "stop")] * 3) == "3 of its 3 answers are empty"
    assert not unusable_answers([loop, sample("they talk", "stop")])


def test_empty_answers_and_loops_count_together() -> None:
    answers = [sample("and " * 9)] * 2 + [sample("", "stop")] * 2 + [sample("a talk", "stop")]
    assert unusable_answers(answers) == (
        "4 of its 5 answers are empty or repeat themselves until they are cut at the limit"
    )


def test_an_end_makes_a_repetition_an_answer() -> None:
    assert not unusable_answers([sample("ha ha ha ha ha ha ha", "stop")] * 4)


def test_empty_answers_that_are_right_and_scored_choices_are_usable() -> None:
    assert not unusable_answers([sample("", "stop", references=("",))] * 4)
    assert not unusable_answers([sample("", "stop", likelihoods=(-1.0, -2.0))] * 4)
