"""Forms in which data sets are published: labelled candidates, contexts, flags, answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.core.errors import DataError
from luthier.evaluation.asking import load_task, select_tasks
from luthier.evaluation.asking.ask import ask as ask_all
from luthier.evaluation.asking.encode import TextEncoder
from luthier.evaluation.asking.encode import TextEncoder as Encoder
from luthier.evaluation.asking.prepared import prepare_task
from luthier.evaluation.metrics import get_metric
from luthier.inference import ScoreRequest
from luthier.inference.local.engine import LocalEngine
from luthier.tasks.suite import Suite
from luthier.tasks.task import Task

MakeTask = Callable[..., Task]
ARC = [
    {"question": "Q1?", "choices": {"text": list("wxyz"), "label": list("ABCD")}, "answerKey": "B"},
    {"question": "Q2?", "choices": {"text": list("wxy"), "label": list("123")}, "answerKey": "3"},
    {
        "question": "Q3?",
        "choices": {"text": list("vwxyz"), "label": list("ABCDE")},
        "answerKey": "E",
    },
]
ARC_TASK: dict[str, Any] = {
    "kind": "candidates",
    "prompt": "Question: {{ question }}\nAnswer:",
    "candidates": "choices.text",
    "labels": "choices.label",
    "metrics": ["acc", "acc_norm"],
}
WINOGRANDE = [
    {"options": ["Ann beat Eve, so Ann", "Ann beat Eve, so Eve"], "end": "won.", "gold": 0},
    {"options": ["It fell, but the cup", "It fell, but the mat"], "end": "was soft.", "gold": 1},
]
WINOGRANDE_TASK: dict[str, Any] = {
    "kind": "contexts",
    "contexts": "options",
    "continuation": "{{ end }}",
    "answer_index": "gold",
    "metrics": ["acc"],
}


@pytest.fixture(scope="module")
def loaded(load: Any, tiny_llama: Path) -> Any:
    return load(tiny_llama)


@pytest.fixture(scope="module")
def encoder(loaded: Any) -> TextEncoder:
    return TextEncoder(loaded.tokenizer, loaded.context_window)


@pytest.fixture
def ask(loaded: Any, encoder: TextEncoder) -> Callable[..., Any]:
    def ask_task(task: Task, **options: Any) -> Any:
        questions, _ = prepare_task(task, **options).questions(encoder)
        engine = LocalEngine(loaded, 4096)
        return ask_all(
            task, engine, encoder, questions, lambda _what, _total: nullcontext(lambda *_a: None)
        )

    return ask_task


@pytest.mark.parametrize("key", ["answer_index", "references"])
@pytest.mark.parametrize("column", ["answerKey", "{{ answerKey }}"])
def test_arc_is_read_as_it_is_published(
    make_task: MakeTask, ask: Callable[..., Any], key: str, column: str
) -> None:
    task = make_task({**ARC_TASK, key: column}, test=ARC, train=ARC[:2])
    answers = ask(task, shots=0)
    assert [sample.references for sample in answers.samples] == [("B",), ("3",), ("E",)]
    assert [sample.choices for sample in answers.samples] == [
        tuple("ABCD"), tuple("123"), tuple("ABCDE"),
    ]  # fmt: skip
    assert answers.samples[2].words == tuple("vwxyz")
    shots = prepare_task(task.overridden({"draw": "first"}), shots=1).shots
    assert shots[0].solution == "x"
    for name in ("acc", "acc_norm"):
        assert get_metric(name).measure(answers.samples).shape == (3, 1)


@pytest.mark.parametrize(
    ("given", "reference"), [(0, "0"), ("1", "1"), ("A", "0"), ("C", "2"), (2.0, None), ("D", None),
                             (3, None), (-1, None), ("x", None), ("a", None)],
)  # fmt: skip
def test_an_index_or_a_letter_says_what_is_right(
    make_task: MakeTask, given: Any, reference: str | None
) -> None:
    keys = {
        "kind": "candidates",
        "prompt": "?",
        "candidates": "c",
        "answer_index": "gold",
        "metrics": ["acc"],
    }
    task = make_task(keys, test=[{"c": ["x", "y", "z"], "gold": given}])
    if reference is None:
        with pytest.raises(DataError, match="is none of the candidates") as caught:
            prepare_task(task)
        assert caught.value.where.startswith("test.jsonl:1")
        assert "0 to 2, or A to C" in caught.value.fix
        return
    (document,) = prepare_task(task).documents
    assert (document.references, document.choices) == ((reference,), ("0", "1", "2"))


def test_equal_candidates_are_told_apart_by_their_places(make_task: MakeTask) -> None:
    keys = {
        "kind": "candidates",
        "prompt": "?",
        "candidates": "c",
        "answer_index": "gold",
        "metrics": ["acc"],
    }
    (document,) = prepare_task(make_task(keys, test=[{"c": ["x", "x"], "gold": 1}])).documents
    assert document.references == ("1",)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"choices": {"text": ["x"], "label": ["A", "B"]}, "answerKey": "A"}, "each needs one of"),
        (
            {"choices": {"text": ["x", "y"], "label": ["A", "A"]}, "answerKey": "A"},
            "each needs one",
        ),
        (
            {"choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "1"},
            "'1' is none of",
        ),
        ({"choices": {"text": [], "label": []}, "answerKey": "A"}, "needs a list"),
        ({"choices": {"text": ["x", None], "label": ["A", "B"]}, "answerKey": "A"}, "other than"),
        ({"choices": ["x"], "answerKey": "A"}, "'choices.text', which is not there"),
    ],
)
def test_a_row_that_does_not_fit_is_named(
    make_task: MakeTask, row: dict[str, Any], problem: str
) -> None:
    task = make_task({**ARC_TASK, "answer_index": "answerKey"}, test=[{"question": "?", **row}])
    with pytest.raises(DataError, match=problem) as caught:
        prepare_task(task)
    assert caught.value.where.startswith("test.jsonl:1")


def test_a_label_without_labels_is_refused(make_task: MakeTask) -> None:
    keys = {name: value for name, value in ARC_TASK.items() if name != "labels"}
    with pytest.raises(DataError, match="'B' of the task 'own' is none of the row's choices"):
        prepare_task(make_task({**keys, "references": "answerKey"}, test=ARC[:1]))


def test_what_is_right_is_said_once(make_task: MakeTask) -> None:
    for more in ({}, {"references": "a", "answer_index": "b"}):
        with pytest.raises(DataError, match="exactly one of references, answer_index, correct"):
            make_task({**ARC_TASK, **more})


def test_contexts_are_compared_by_what_follows(
    make_task: MakeTask, ask: Callable[..., Any], encoder: TextEncoder, loaded: Any
) -> None:
    task = make_task(WINOGRANDE_TASK, test=WINOGRANDE, train=WINOGRANDE[1:])
    answers = ask(task)
    engine = LocalEngine(loaded, 4096)
    for sample, row in zip(answers.samples, WINOGRANDE, strict=True):
        requests = [encoder.pairs(text, [f" {row['end']}"])[0] for text in row["options"]]
        expected = [score.logprob for score in engine.score(requests)]
        assert sample.likelihoods == pytest.approx(expected, abs=1e-4)
        assert sample.prediction == str(int(np.argmax(expected)))
        assert sample.references == (str(row["gold"]),)
        assert sample.contexts == tuple(row["options"])
    prepared = prepare_task(
        task.overridden({"draw": "first"}), shots=1, limit=1, limit_draw="first"
    )
    (question,), _ = prepared.questions(encoder)
    assert question.context == "It fell, but the mat was soft.\n\n"


def test_truthfulqa_is_scored_by_mass(make_task: MakeTask, ask: Callable[..., Any]) -> None:
    keys = {
        "kind": "candidates",
        "prompt": "Q: {{ question }}\nA:",
        "candidates": "mc2_targets.choices",
        "correct": "mc2_targets.labels",
        "metrics": ["mc1", "mc2"],
    }
    row = {"question": "Why?", "mc2_targets": {"choices": list("abcd"), "labels": [1, 0, 1, 0]}}
    (sample,) = ask(make_task(keys, test=[row])).samples
    assert sample.references == ("0", "2")
    weights = np.exp(np.array(sample.likelihoods))
    assert get_metric("mc2").measure([sample])[0, 0] == pytest.approx(
        (weights[0] + weights[2]) / weights.sum()
    )
    assert get_metric("mc1").measure([sample])[0, 0] == float(weights.argmax() in (0, 2))
    far = sample.model_copy(update={"likelihoods": (-2000.0, -2001.0, -9000.0, -9000.0)})
    assert get_metric("mc2").measure([far])[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))
    for labels in ([0, 0, 0, 0], [1, 0], [1, 0, 2, 0]):
        wrong = {"question": "Why?", "mc2_targets": {"choices": list("abcd"), "labels": labels}}
        with pytest.raises(DataError, match="must say of each of the 4 choices"):
            prepare_task(make_task(keys, test=[wrong]))


@pytest.mark.parametrize(
    ("keys", "row", "accepted"),
    [
        ({"references": "aliases"}, {"aliases": ["Onion", "Pyaz", "Onion"]}, ("Onion", "Pyaz")),
        (
            {"completion": "{{ value }}", "references": "aliases"},
            {"value": "Onion", "aliases": ["Pyaz", "Onion"]},
            ("Onion", "Pyaz"),
        ),
        ({"references": "answers.text"}, {"answers": {"text": ["a", "b"]}}, ("a", "b")),
        ({"references": "spans.text"}, {"spans": [{"text": "a"}, {"text": "b"}]}, ("a", "b")),
        ({"references": "a.0"}, {"a": ["first", "second"]}, ("first",)),
        ({"references": "years"}, {"years": [1990, 1991]}, ("1990", "1991")),
        ({"references": "one"}, {"one": "alone"}, ("alone",)),
    ],
)
def test_several_answers_are_accepted(
    make_task: MakeTask, keys: dict[str, Any], row: dict[str, Any], accepted: tuple[str, ...]
) -> None:
    task = make_task({"kind": "generate", "prompt": "?", "metrics": ["em"], **keys}, test=[row])
    (document,) = prepare_task(task).documents
    assert document.references == accepted
    assert document.solution == accepted[0]
    sample = document.sample("?", accepted[-1])
    assert get_metric("em").measure([sample])[0, 0] == 1
    with pytest.raises(DataError, match="give the accepted answer"):
        make_task({"kind": "generate", "prompt": "?", "metrics": ["em"]})


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("{{ c[0] }}", "<c[0]>"),
        ("{{ c.text[1] }}", "<c.text[1]>"),
        ("{{ c['a b'] }} no", "<c['a b']> no"),
        ("{{c}}", "<c>"),
        (" {{ end }}", " <end>"),
        ("{{ c|upper }}", "{{ c|upper }}"),
        ("{% if c %}a{% endif %}", "{% if c %}a{% endif %}"),
        ("plain", "plain"),
    ],
)
def test_words_of_lists_are_named_as_they_are_written(
    make_task: MakeTask, choices: dict[str, Any], words: str, shown: str
) -> None:
    task = make_task({**choices, "choices": {"0": words, "1": "x"}})
    assert task.label_words["0"] == shown


@pytest.mark.parametrize("encoder_decoder", [False, True])
def test_a_cut_prompt_keeps_what_begins_a_text(bundled_handle: Any, encoder_decoder: bool) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bundled_handle.folder.path)
    begin = [("<|im_start|>", 1), ("<repo_name>", 3)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=begin
    )
    encoder = Encoder(tokenizer, 12, encoder_decoder)
    text = "one two three four five six seven eight nine ten eleven twelve thirteen"
    (request,) = encoder.pairs(text, [" yes"])
    cut = encoder.cut(request, "row 1")
    assert cut.context[0] == request.context[0] == 1
    assert cut.context[1:] == request.context[-11:]
    assert encoder.shortened(request.context, 1) == request.context[-1:]
    assert encoder.cut(ScoreRequest((5,) * 20, (6,)), "row 1").context == (5,) * 12


def test_winogrande_is_read_as_it_is_published(make_task: MakeTask) -> None:
    keys = {
        "kind": "contexts", "contexts": "contexts", "continuation": "{{ end }}",
        "labels": "places", "answer_index": "answer", "metrics": ["acc"],
        "files": {"splits": {"test": "test.jsonl"}, "prepare": ["winogrande-options"]},
    }  # fmt: skip
    row = {"sentence": "Ann beat Eve, so _ won.", "option1": "Ann", "option2": "Eve", "answer": "2"}
    (document,) = prepare_task(make_task(keys, test=[row])).documents
    assert document.contexts == ("Ann beat Eve, so Ann", "Ann beat Eve, so Eve")
    assert (document.words, document.references) == (("won.", "won."), ("2",))
    for wrong in ("no blank", "ends in _", "_ and _ again"):
        with pytest.raises(DataError, match="needs one blank"):
            prepare_task(make_task(keys, test=[{**row, "sentence": wrong}]))


@pytest.mark.parametrize("called", ["own.yaml", "own"])
def test_a_suite_of_ones_own(
    make_task: MakeTask, choices: dict[str, Any], tmp_path: Path, called: str
) -> None:
    make_task(choices, test=[{"text": "Snow", "label": 0}])
    suite = {
        "kind": "suite",
        "name": "mine",
        "tasks": ["own.yaml", "glue/mnli", "glue/mnli_mm", "glue/rte"],
        "combined": {"mnli": ["glue/mnli", "glue/mnli_mm"]},
        "categories": {"inference": ["glue/rte", called]},
        "weights": {called: 3, "mnli": 2, "glue/rte": 1},
    }
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(suite), encoding="utf-8")
    found = load_task(str(path))
    assert isinstance(found, Suite)
    selection = select_tasks([str(path)])
    assert [task.name for task in selection.tasks] == [
        "own",
        "glue/mnli",
        "glue/mnli_mm",
        "glue/rte",
    ]
    assert prepare_task(selection.tasks[0]).documents
    from luthier.tasks.suite import shares

    share = shares(found, dict.fromkeys(found.tasks, 10))
    assert share["mine"] == pytest.approx(
        {"own": 3 / 6, "glue/mnli": 1 / 6, "glue/mnli_mm": 1 / 6, "glue/rte": 1 / 6}
    )
    assert share["mine/inference"] == pytest.approx({"glue/rte": 1 / 4, "own": 3 / 4})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"weights": {"glue/rte": 1}}, "do not say how much 'glue/cola' counts"),
        ({"weights": {"glue/rte": 1, "glue/cola": 1, "x": 1}}, "weights name 'x'"),
        ({"weights": {"glue/rte": 0, "glue/cola": 1}}, "greater than 0"),
        ({"combined": {"a": ["glue/qqp"]}}, "'glue/qqp', which is none of the tasks"),
        ({"tasks": ["glue"]}, "holds the suite 'glue'"),
        ({"tasks": "glue/rte"}, "tasks"),
        ({"tasks": [1]}, "tasks"),
        ({"weights": "heavy"}, "weights"),
        ({"name": "glue"}, "the name 'glue' is that of a task"),
    ],
)
def test_a_suite_that_does_not_add_up_is_refused(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    suite = {"kind": "suite", "name": "mine", "tasks": ["glue/rte", "glue/cola"], **change}
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(suite), encoding="utf-8")
    with pytest.raises(DataError, match=problem):
        load_task(str(path))


@pytest.mark.parametrize(
    ("labels", "given", "place"),
    [
        (None, "1", 1), (None, "B", 1), (None, 1, 1), (["1", "2"], "2", 1), ([1, 2], "2", 1),
        ([1, 2], 2, 1), (["1.0", "2.0"], "2.0", 1), (["E", "F"], "F", 1), (["y", "Y"], "Y", 1),
    ],
)  # fmt: skip
def test_an_index_however_it_is_written(
    make_task: MakeTask, labels: Any, given: Any, place: int
) -> None:
    keys = {"kind": "candidates", "candidates": "c", "answer_index": "gold", "metrics": ["acc"]}
    row = {"c": ["x", "z"], "gold": given} | ({"labels": labels} if labels else {})
    keys |= {"labels": "labels"} if labels else {}
    (document,) = prepare_task(make_task(keys, test=[row])).documents
    assert document.references == (document.choices[place],)


def test_more_choices_than_letters_and_equal_ones(
    make_task: MakeTask, ask: Callable[..., Any]
) -> None:
    """Choices that are equal are equally likely, and right together only where called alike."""
    many = [f"choice {n}" for n in range(30)]
    keys = {"kind": "candidates", "candidates": "c", "answer_index": "g", "metrics": ["acc"]}
    rows = [{"c": many, "g": 29}, {"c": ["same", "same", "other"], "g": 1}]
    answers = ask(make_task(keys, test=rows))
    assert answers.samples[0].references == ("29",)
    first, second, _ = answers.samples[1].likelihoods
    assert first == pytest.approx(second, abs=1e-5)
    with pytest.raises(DataError, match="'words' of the task 'own' is empty"):
        prepare_task(make_task(keys, test=[{"c": ["", "x"], "g": 1}]))
