from __future__ import annotations

import pytest

from luthier.evaluation.degenerate import (
    is_mostly_repetition,
    one_sided_answers,
    repeats_itself,
    unusable_answers,
)
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


@pytest.mark.parametrize(
    "text",
    ["the the the", "no no no", "the cat the cat the cat", "They talk of and so and so and so"],
)
def test_repetitions_of_words_are_noticed(text: str) -> None:
    assert is_mostly_repetition(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the the",
        "A long answer that says one thing, and then no no no",
        "one two one two three",
        "1000",
    ],
)
def test_answers_with_repeated_words_are_answers(text: str) -> None:
    assert not is_mostly_repetition(text)


def test_a_system_is_unusable_where_most_answers_are() -> None:
    loop = sample("and and and and and and and")
    assert unusable_answers([loop] * 24) == "24 of its 24 answers repeat themselves"
    assert unusable_answers([sample(" ", "stop")] * 3) == "3 of its 3 answers are empty"
    assert not unusable_answers([loop, sample("they talk", "stop")])


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_empty_answers_and_loops_count_together(finish: str) -> None:
    answers = [sample("the the the", finish)] * 2 + [sample("", "stop")] * 2
    answers.append(sample("a talk", "stop"))
    assert unusable_answers(answers) == "4 of its 5 answers are empty or repeat themselves"


def test_a_repetition_that_is_right_is_an_answer() -> None:
    assert not unusable_answers([sample("ha ha ha", "stop", references=("ha ha ha",))] * 4)


def test_empty_answers_that_are_right_are_usable() -> None:
    assert not unusable_answers([sample("", "stop", references=("",))] * 4)


def choices(answer: str, *right: str) -> list[SampleRecord]:
    """Chosen answers, one for each right label."""
    more = {"choices": ("a", "b"), "words": ("a", "b"), "likelihoods": (-1.0, -2.0)}
    return [sample(answer, "stop", references=(label,), **more) for label in right]


def test_one_answer_to_everything_is_no_answer() -> None:
    assert unusable_answers(choices("a", *"aaabb")) == "all its 5 answers are 'a'"
    assert not unusable_answers([*choices("a", *"aaab"), *choices("b", "b")])
    assert not unusable_answers(choices("a", *"aaaaa"))
    assert not unusable_answers(choices("a", *"aabb"))  # too few to tell


def test_answers_that_are_cut_are_not_whole() -> None:
    cut = [sample(f"They talk about {n} things and", "length") for n in range(5)]
    whole = [sample(f"They talk about {n} things.", "stop") for n in range(5)]
    assert unusable_answers([*cut, *whole[:4]]) == (
        "5 of its 9 answers are cut at the token limit (evaluate.max_new_tokens)"
    )
    assert not unusable_answers([*cut, *whole])


def test_an_answer_that_is_given_far_too_often_is_named() -> None:
    often = [*choices("a", *"aabbbb"), *choices("b", *"bb")]
    assert one_sided_answers(often) == "6 of its 8 answers are 'a', right for 2"
    assert not one_sided_answers([*choices("a", *"aaaaab"), *choices("b", *"bbbb")])
    assert not one_sided_answers([*choices("a", *"ab"), *choices("b", *"bbb")])
    assert not one_sided_answers([sample("a talk", "stop")] * 8)
