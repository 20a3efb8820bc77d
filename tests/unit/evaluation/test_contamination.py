from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from luthier.config import Decoding
from luthier.core.example import Example, Message
from luthier.evaluation.contamination.search import (
    example_text,
    find_contamination,
    with_clean_part,
)
from luthier.evaluation.predicting.generation import Generating
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.task import Evaluation, EvaluationTask
from luthier.records.contamination import ContaminatedExample, Contamination
from luthier.records.evaluation import TemplateStamp

TEST = [
    ("copied", "Please summarise: the quick brown fox jumps over the lazy dog today."),
    ("clean", "Please summarise: seven wizards quietly mixed their very best potions."),
    ("short", "the quick brown"),
]


def found_in(train: list[str], test: list[tuple[str, str]] = TEST, words: int = 8) -> Contamination:
    return find_contamination(((f"row {i}", text) for i, text in enumerate(train)), test, words)


def ids(found: Contamination) -> list[str]:
    return [example.id for example in found.examples]


def test_shared_runs_are_found_whatever_case_and_punctuation() -> None:
    found = found_in(
        ["and nothing else", "He wrote: The QUICK brown fox, jumps over the lazy dog."]
    )
    assert found.examples == (ContaminatedExample(id="copied", runs=5, shared=2, where="row 1"),)
    assert (found.train, found.test, found.checked, found.share) == (2, 3, 2, 0.5)


def test_a_run_must_be_unbroken() -> None:
    train = ["the quick brown fox jumps", "over the lazy dog"]
    assert ids(found_in(train)) == []
    assert ids(found_in(train, words=5)) == ["copied"]


def test_a_run_does_not_go_on_in_the_next_text() -> None:
    words = TEST[0][1].split()
    assert ids(found_in([" ".join(words[:7]), " ".join(words[7:])])) == []


def test_the_same_text_in_two_test_examples() -> None:
    twins = [("a", TEST[0][1]), ("b", TEST[0][1])]
    assert ids(found_in([TEST[0][1]], twins)) == ["a", "b"]


def test_a_text_shorter_than_the_run_must_be_there_whole() -> None:
    ten = "one two three four five six seven eight nine ten"
    whole, part = f"zero {ten} eleven", ten.replace(" ten", "")
    assert ids(found_in([whole], [("ten", ten)], words=13)) == ["ten"]
    assert ids(found_in([part], [("ten", ten)], words=13)) == []


def test_fewer_than_eight_words_say_nothing() -> None:
    seven = "one two three four five six seven"
    found = found_in([seven], [("seven", seven)], words=13)
    assert (ids(found), found.checked) == ([], 0)
    assert "1 of 1 test examples have too few words" in found.sentence


def test_the_frame_of_the_prompts_is_no_contamination() -> None:
    frame = "Say in one short and friendly sentence what the following text is about please"
    own = [f"{word} " * 15 for word in ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")]
    test = [(text.split()[0], f"{frame}: {text}") for text in own]
    assert ids(found_in([f"{frame}: {'other ' * 20}"], test, words=13)) == []
    assert ids(found_in([f"{frame}: {own[2]}"], test, words=13)) == ["gamma"]


def test_words_of_the_frame_are_not_counted_with_those_of_the_row() -> None:
    """Twelve words of the row and the first of what follows in every prompt are thirteen."""
    rows = ["the same", *(f"row{n} of" for n in range(6))]
    ten = "my red desk lamp came late in the cold rain"
    test = [
        (row, f"Ticket: {row} {ten if n < 2 else n} Team (dock, keys, bench, ledger): dock")
        for n, row in enumerate(rows)
    ]
    train = [f"Ticket: another note says {ten} Team (dock, keys, bench, ledger): dock"]
    assert ids(found_in(train, test, words=13)) == []
    leak = [f"They say: the same {ten}, and more."]
    assert ids(found_in(leak, test, words=13)) == ["the same"]


def runs_of(text: str, length: int) -> set[str]:
    words = text.split()
    return {" ".join(words[i : i + length]) for i in range(len(words) - length + 1)}


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_what_a_plain_search_finds(seed: int) -> None:
    draw = random.Random(seed)
    texts = [" ".join(draw.choices("abcdefghijkl", k=draw.randint(3, 12))) for _ in range(150)]
    train, test = texts[:100], [(str(i), text) for i, text in enumerate(texts[100:])]
    trained = set().union(*(runs_of(text, 3) for text in train))
    expected = {name: runs_of(text, 3) & trained for name, text in test}
    found = found_in(train, test, words=3)
    assert {each.id: each.shared for each in found.examples} == {
        name: len(runs) for name, runs in expected.items() if runs
    }
    assert 5 < len(found.examples) < 45


def test_letters_that_change_their_word_make_another_run() -> None:
    assert ids(found_in(["ab c de f"], [("a", "ac b df e")], words=4)) == []
    assert ids(found_in(["ab c de f"], [("a", "c ab f de")], words=4)) == []
    assert ids(found_in(["AB, c: de f"], [("a", "ab c de f")], words=4)) == ["a"]


def test_every_script_and_texts_of_any_length() -> None:
    text = "Ünïcode, straße und naïve café — слова из десяти букв, و بعض الكلمات العربية 𝒂𝒃"
    long = "filler " * 200_000
    train = ["", long, f"{long} {text.upper()} {long}", "!?"]
    assert ids(found_in(train, [("a", text), ("b", text.replace("und", "oder"))], words=13)) == [
        "a"
    ]


def test_nothing_to_check() -> None:
    found = found_in(["a b c"], [])
    assert (found.examples, found.share) == ((), 0.0)


def test_question_and_answers_are_looked_for() -> None:
    example = Example("id", (Message("system", "s"), Message("user", "q")), ("a", "b"))
    assert example_text(example) == "s\nq\na\nb"


@pytest.fixture
def task() -> EvaluationTask:
    examples = tuple(Example(f"id-{i}", (Message("user", "?"),), (w,)) for i, w in enumerate("ab"))
    stamp = TemplateStamp(id="as-is", hash="aa")
    mode = Generating(Decoding(max_new_tokens=8))
    return EvaluationTask("task", "test", examples, stamp, 0, False, ("rouge1",), mode)


def test_the_clean_part_is_measured_apart(
    task: EvaluationTask, evaluation: Callable[..., Evaluation], resampling: Resampling
) -> None:
    made = evaluation(["a", "x"], ["a", "b"])
    dirty = ContaminatedExample(id="id-0", runs=1, shared=1, where="row 1")
    found = Contamination(words=13, train=1, test=2, checked=2, examples=(dirty,))
    (clean,) = with_clean_part(made, task, found, resampling).record.clean
    assert (clean.name, clean.value, clean.n) == ("rouge1", 0.0, 1)
    both = found.model_copy(update={"examples": (dirty, dirty.model_copy(update={"id": "id-1"}))})
    for nothing_to_add in (None, both, found.model_copy(update={"examples": ()})):
        assert with_clean_part(made, task, nothing_to_add, resampling) == made


def test_nothing_long_enough_is_said_without_a_share_of_none() -> None:
    found = Contamination(words=13, train=35, test=22, checked=0, examples=())
    assert found.sentence == (
        "Contamination by the 35 training texts cannot be checked: 22 of 22 test examples have "
        "too few words."
    )


def test_every_answer_to_a_question_that_is_contained_is_left_out(
    task: EvaluationTask, evaluation: Callable[..., Evaluation], resampling: Resampling
) -> None:
    made = evaluation(["a", "x", "b"], ["a", "a", "b"])
    named = zip(made.samples, ("id-0", "id-0", "id-1"), ("id-0#1", "id-0#2", "id-1#1"), strict=True)
    samples = tuple(
        sample.model_copy(update={"id": name, "question_id": question})
        for sample, question, name in named
    )
    dirty = ContaminatedExample(id="id-0", runs=1, shared=1, where="row 1")
    found = Contamination(words=13, train=1, test=2, checked=2, examples=(dirty,))
    several = made._replace(samples=samples)
    (clean,) = with_clean_part(several, task, found, resampling).record.clean
    assert (clean.value, clean.n) == (1.0, 1)
