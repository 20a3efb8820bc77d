"""A benchmark task as the data of a run: trained, asked, and measured."""

from __future__ import annotations

import io
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.config import DataConfig, PromptConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.example import Message
from luthier.data.dataset import Dataset, load_dataset
from luthier.evaluation.asking import select_tasks
from luthier.evaluation.asking.prepared import prepare_task
from luthier.tasks.bare import AS_IS

QUIET = Console(quiet=True)
PARITY = """\
name: parity
kind: choices
files: {splits: {train: train.jsonl, test: test.jsonl}, labels: {even: 0, odd: 1}}
system: "Numbers.\\n\\n"
prompt: "Is {{ number }} odd?"
label: "{{ label }}"
group: "{{ tens }}"
choices: {0: "no", 1: "yes"}
metrics: acc
"""
SUMS = """\
name: sums
kind: generate
files: {splits: {train: train.jsonl, test: test.jsonl}}
prompt: "What is {{ number }} + 1?"
completion: "<think>count</think>{{ next }}"
references: also
max_new_tokens: 7
metrics: em
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for split, start, count in (("train", 0, 60), ("test", 100, 20)):
        rows = [
            {"number": n, "label": "odd" if n % 2 else "even", "tens": n // 10, "next": n + 1,
             "also": [f"it is {n + 1}"]}
            for n in range(start, start + count)
        ]  # fmt: skip
        Path(f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("parity.yaml").write_text(PARITY)
    Path("sums.yaml").write_text(SUMS)
    return tmp_path


def load(source: str, **data: Any) -> Dataset:
    return load_dataset(DataConfig(source=source, **data), PromptConfig(), 0, QUIET)


def test_choices_become_answers_in_words(folder: Path) -> None:
    found = load("parity.yaml")
    assert (found.task, len(found.test)) == ("parity", 20)
    assert len(found.train) + len(found.validation) == 60
    for example in (*found.train, *found.test):
        system, question = example.messages
        number = int(question.content.split()[1])
        assert system == Message("system", "Numbers.")
        assert example.references == ("yes" if number % 2 else "no",)
        assert (example.choices, example.group) == (("no", "yes"), str(number // 10))
    assert found.template.name == "parity"


def test_what_is_trained_may_hold_reasoning(folder: Path) -> None:
    found = load("sums.yaml", num_test=3)
    assert len(found.test) == 3
    example = found.train[0]
    n = int(example.messages[0].content.split()[2])
    assert example.trained_answer.content == f"<think>count</think>{n + 1}"
    assert example.references == (str(n + 1), f"it is {n + 1}")
    assert (found.template.max_new_tokens, found.template.metrics) == (7, ("em",))


def test_one_split_is_cut(folder: Path) -> None:
    own = PARITY.replace("test: test.jsonl", "test: train.jsonl") + "shots_from: test\n"
    Path("parity.yaml").write_text(f"{own}examples: [{{number: 7, label: 1}}]\n")
    found = load("parity.yaml")
    assert found.train
    assert found.test
    assert len(found.train) + len(found.validation) + len(found.test) == 60


def test_a_template_gets_the_labels_of_the_tasks_rows(folder: Path) -> None:
    words = (
        "prompt: '{{ number }}?'\nlabel: '{{ label }}'\nchoices: {0: even, 1: odd}\nmetrics: acc\n"
    )
    Path("words.yaml").write_text(words)
    config = DataConfig(source="parity.yaml")
    found = load_dataset(config, PromptConfig(template="words.yaml"), 0, QUIET)
    assert found.template.name == "words"
    for example in found.test:
        number = int(example.messages[0].content[:-1])
        assert example.references == ("odd" if number % 2 else "even",)


def test_a_task_is_tuned_and_measured_as_a_benchmark(folder: Path, tiny_llama: Path) -> None:
    settings = {
        "model.id": str(tiny_llama), "model.dtype": "float32", "data.source": "parity.yaml",
        "method": "full", "train.max_steps": 2, "evaluate.resamples": 100,
        "evaluate.general_text": None,
    }  # fmt: skip
    run = luthier.tune(None, settings, QUIET).run.path
    given = {"model.id": str(tiny_llama)}
    own = luthier.evaluate(run, None, given, QUIET).evaluation
    (measured,) = luthier.benchmark([run], ["parity.yaml"], None, settings, QUIET)
    assert own.metric("acc").n == measured.evaluations[0].metric("acc").n == 20


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("glue", "choose one of them: glue/cola"),
        ("nli-two-way/short", "prompt.template=nli-two-way/short"),
        ("text.yaml", "no questions with answers"),
        ("contexts.yaml", "no questions with answers"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(source: str, words: str, folder: Path) -> None:
    files = PARITY.partition("system")[0].partition("files")[2]
    Path("text.yaml").write_text(
        f"name: t\nkind: text\nfiles{files}text: x{{{{ number }}}}\nmetrics: perplexity\n"
    )
    Path("contexts.yaml").write_text(
        f"name: c\nkind: contexts\nfiles{files}contexts: also\ncontinuation: x\n"
        "answer_index: label\nmetrics: acc\n"
    )
    with pytest.raises(UsageError) as refused:
        load(source)
    assert words in f"{refused.value.problem} {refused.value.fix}"


def test_a_wrong_task_has_its_line(folder: Path) -> None:
    Path("parity.yaml").write_text(PARITY.replace("label:", "lable:"))
    with pytest.raises(DataError) as refused:
        load("parity.yaml")
    assert "parity.yaml:6" in str(refused.value)
    assert "did you mean 'label'?" in str(refused.value)


def test_a_name_like_a_tasks_is_answered_with_the_task(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LUTHIER_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError) as refused:
        load("glue/rtee")
    assert "did you mean 'glue/rte'?" in refused.value.fix


def test_a_folder_of_the_same_name_is_the_data(folder: Path) -> None:
    place = Path("glue/rte")
    place.mkdir(parents=True)
    rows = [{"prompt": f"Is {n} odd?", "completion": "no"} for n in range(40)]
    (place / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load("glue/rte").template is AS_IS


def test_a_task_of_the_library() -> None:
    if not os.environ.get("LUTHIER_DATA"):
        pytest.skip("LUTHIER_DATA is not set to a folder of real data")
    found = load("glue/rte", num_train=50, num_test=20)
    assert found.task == "glue-rte"
    assert {e.references[0] for e in found.train} == {"True", "False"}
    assert all(e.choices == ("True", "False") for e in (*found.train, *found.test))


ONE_FILE = """\
name: orders
kind: choices
files: {splits: rows.jsonl}
prompt: "{{ text }}"
label: "{{ label }}"
choices: {late: late, lost: lost, broken: broken}
"""
THINGS = ("lamp", "tent", "desk", "rug", "stove", "clock", "chair", "table", "shelf", "box")
PLACES = ("cellar", "garden", "kitchen", "attic", "office", "hall", "barn", "yard", "den", "loft")


@pytest.fixture
def one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """240 rows of which three are near-duplicates each, some exact ones, and uneven labels."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {
            "text": f"The {thing} for the {place} and the {other}, and note {copy % 2}",
            "label": ("late", "late", "late", "lost", "broken")[(n + m) % 5],
            "owner": f"o{n % 7}",
        }
        for n, thing in enumerate(THINGS)
        for m, (place, other) in enumerate(pairwise(PLACES[:9]))
        for copy in range(3)
    ]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Path("orders.yaml").write_text(ONE_FILE)
    return tmp_path


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("group", ["", 'group: "{{ owner }}"\n'])
@pytest.mark.parametrize("name", ["orders", "python-docstrings"])
def test_a_benchmark_measures_the_rows_that_a_run_holds_out(
    seed: int, group: str, name: str, one_file: Path
) -> None:
    Path("orders.yaml").write_text(ONE_FILE.replace("orders", name) + group)
    dataset = load_dataset(DataConfig(source="orders.yaml"), PromptConfig(), seed, QUIET)
    assert dataset.near.examples == 160
    (task,) = select_tasks(["orders.yaml"]).tasks
    prepared = prepare_task(task, seed=seed)
    assert [one.where for one in prepared.documents] == [one.where for one in dataset.test]
    assert {one.prompt for one in prepared.documents} == {
        one.messages[-1].content for one in dataset.test
    }


def test_rows_that_a_run_was_trained_on_are_not_measured(one_file: Path, tiny_llama: Path) -> None:
    settings = {
        "model.id": str(tiny_llama), "model.dtype": "float32", "method": "lora",
        "train.max_steps": 2, "evaluate.resamples": 100, "evaluate.general_text": None,
    }  # fmt: skip
    trained = luthier.tune(None, {**settings, "data.source": "orders.yaml", "seed": 1}, QUIET)
    run = trained.run.path
    with pytest.raises(UsageError, match="of orders to measure were trained on") as refused:
        luthier.benchmark([run], ["orders.yaml"], None, settings, QUIET)
    assert refused.value.fix
    assert f"luthier evaluate {run}" in refused.value.fix
    assert "seed=1" in refused.value.fix
    (measured,) = luthier.benchmark([run], ["orders.yaml"], None, {**settings, "seed": 1}, QUIET)
    assert measured.evaluations[0].metrics[0].n == 48

    more = {**settings, "data.source": "orders.yaml", "data.test_fraction": 0.1}
    other = luthier.tune(None, more, QUIET).run.path
    with pytest.raises(UsageError, match="the default shares") as refused:
        luthier.benchmark([other], ["orders.yaml"], None, settings, QUIET)
    assert "seed=" not in (refused.value.fix or "")

    Path("rows.jsonl").rename("elsewhere.jsonl")
    Path("orders.yaml").write_text(ONE_FILE.replace("rows.jsonl", "elsewhere.jsonl"))
    with pytest.raises(UsageError):  # the same rows under another name
        luthier.benchmark([other], ["orders.yaml"], None, settings, QUIET)


def test_a_run_whose_rows_are_gone_is_measured_with_a_warning(
    one_file: Path, tiny_llama: Path
) -> None:
    settings = {
        "model.id": str(tiny_llama), "model.dtype": "float32", "method": "lora",
        "train.max_steps": 2, "evaluate.resamples": 100, "evaluate.general_text": None,
    }  # fmt: skip
    Path("copy.jsonl").write_text(Path("rows.jsonl").read_text())
    Path("copy.yaml").write_text(ONE_FILE.replace("rows.jsonl", "copy.jsonl"))
    run = luthier.tune(None, {**settings, "data.source": "copy.yaml"}, QUIET).run.path
    Path("copy.jsonl").unlink()
    stream = io.StringIO()
    luthier.benchmark([run], ["orders.yaml"], None, settings, Console(stream))
    assert "was trained on the rows of orders cannot be checked" in stream.getvalue()
