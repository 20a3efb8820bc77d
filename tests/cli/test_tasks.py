"""``luthier tasks`` and ``luthier evaluate --tasks``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import DataError, UsageError

Call = Callable[..., Any]

OWN = """\
name: parity
kind: choices
files: {splits: {test: numbers.jsonl}}
prompt: "Is {{ number }} even or odd? It is"
label: "{{ parity }}"
choices: {0: even, 1: odd}
metrics: [acc]
submission: {file: parity.tsv, format: glue}
"""


@pytest.fixture
def own(in_tmp_path: Path) -> str:
    rows = [{"number": number, "parity": number % 2} for number in range(20)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (in_tmp_path / "numbers.jsonl").write_text(lines, encoding="utf-8")
    (in_tmp_path / "parity.yaml").write_text(OWN, encoding="utf-8")
    return "parity.yaml"


def test_tasks_are_listed_without_the_subjects_of_mmlu(call: Call) -> None:
    outcome = call("tasks")
    assert outcome.code == 0
    for name in ("glue/rte", "superglue/multirc", "mmlu-hendrycks", "lambada", "gsm8k"):
        assert name in outcome.out
    assert "high_school" not in outcome.out
    names = {item["name"] for item in call("tasks", "--json").document}
    assert {"glue/stsb", "mmlu/virology"} <= names


def test_a_task_is_shown_with_the_words_of_its_labels(call: Call, own: str) -> None:
    assert "entailment: 'True'" in call("tasks", "glue/rte").out
    assert call("tasks", own, "--json").document["choices"] == {"0": "even", "1": "odd"}
    outcome = call("tasks", "glue/rtee")
    assert outcome.code == UsageError.exit_code
    assert "did you mean 'glue/rte'?" in outcome.err


def test_models_are_measured_side_by_side(
    call: Call, own: str, tiny_llama: Path, tiny_gpt2: Path
) -> None:
    options = ("--tasks", own, "--shots", "0", "--limit", "6", "model.dtype=float32")
    outcome = call("evaluate", str(tiny_llama), str(tiny_gpt2), *options)
    assert outcome.code == 0, outcome.err
    head, _, row, *rest = outcome.out.splitlines()
    assert "tiny-llama" in head
    assert "tiny-gpt2" in head
    assert row.split()[:5] == ["parity", "acc", "own", "0", "6"]
    assert "parity: 0 = 'even', 1 = 'odd'" in rest
    drawn = "parity: 6 of 20 rows, drawn with the seed 0."
    assert drawn in rest
    reports = [line.removeprefix("Report: ") for line in rest if line.startswith("Report: runs/")]
    assert len(reports) == 2
    assert all(drawn in Path(path).read_text(encoding="utf-8") for path in reports)
    assert any("luthier compare runs/" in line for line in rest)
    first, second = call("evaluate", str(tiny_llama), str(tiny_gpt2), *options, "--json").document
    assert first["run"] != second["run"]
    (record,) = first["tasks"]
    assert record["metrics"][0]["n"] == 6
    assert record["labels"] == {"0": "even", "1": "odd"}


def test_the_stored_configuration_measures_the_same_again(
    call: Call, own: str, tiny_llama: Path
) -> None:
    options = ("--tasks", own, "--limit", "4", "model.dtype=float32", "--json")
    (first,) = call("evaluate", str(tiny_llama), *options).document
    for target in (first["run"], f"{first['run']}/config.yaml"):
        (again,) = call("evaluate", target, "--json").document
        assert again["run"] == first["run"]
        assert again["tasks"][0]["metrics"] == first["tasks"][0]["metrics"]


def test_what_was_done_to_prompts_and_examples_is_said(
    call: Call, in_tmp_path: Path, tiny_llama: Path
) -> None:
    """On the terminal and in the report: cut prompts, and questions that are worked examples."""
    rows = [{"q": f"What is {n}?", "a": str(n)} for n in range(5)]
    rows.append({"q": "Well, " * 3000 + "what?", "a": "x"})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for name in ("test.jsonl", "train.jsonl"):
        (in_tmp_path / name).write_text(lines, encoding="utf-8")
    task = {
        "name": "leaky", "kind": "generate", "prompt": "{{ q }}", "completion": "{{ a }}",
        "files": {"splits": {"train": "train.jsonl", "test": "test.jsonl"}}, "draw": "first",
        "max_new_tokens": 4, "metrics": ["exact_match"],
    }  # fmt: skip
    (in_tmp_path / "leaky.yaml").write_text(json.dumps(task), encoding="utf-8")
    options = ("--tasks", "leaky.yaml", "--shots", "2", "model.dtype=float32")
    outcome = call("evaluate", str(tiny_llama), *options)
    assert outcome.code == 0, outcome.err
    said = " ".join(outcome.out.split())
    assert "1 prompt was cut; 2 questions were shown other worked examples" in said
    (report,) = in_tmp_path.glob("runs/*/report.html")
    page = report.read_text(encoding="utf-8")
    assert "1 prompt was cut; 2 questions were shown other worked examples" in page


def test_predictions_go_to_a_folder(call: Call, own: str, tiny_llama: Path) -> None:
    outcome = call("submit", str(tiny_llama), "--tasks", own, "--folder", "mine", "--json")
    assert outcome.document == {"files": ["mine/parity.tsv"]}
    assert Path("mine/parity.tsv").read_text(encoding="utf-8").startswith("index\tprediction\n0\t")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--limit", "3"), UsageError.exit_code, "need --tasks"),
        (("--tasks", "glue/rtee"), UsageError.exit_code, "did you mean 'glue/rte'?"),
        (("--tasks", "nothing.yaml"), UsageError.exit_code, "does not exist"),
        (("--tasks", "gone.yaml"), DataError.exit_code, "found no data for the split 'test'"),
    ],
)
def test_a_mistake_is_told_before_a_model_is_loaded(
    call: Call, own: str, arguments: tuple[str, ...], code: int, says: str
) -> None:
    Path("gone.yaml").write_text(OWN.replace("numbers", "gone"), encoding="utf-8")
    outcome = call("evaluate", "no/model", *arguments)
    assert outcome.code == code
    assert says in outcome.err


def test_a_task_without_a_leaderboard_is_told_before_a_model_is_loaded(call: Call) -> None:
    outcome = call("submit", "no/model", "--tasks", "lambada", "--folder", "x")
    assert outcome.code == UsageError.exit_code
    assert "no leaderboard" in outcome.err


def test_a_template_is_no_benchmark_until_rows_are_named(call: Call, tiny_llama: Path) -> None:
    outcome = call("evaluate", str(tiny_llama), "--tasks", "nli-two-way/short")
    assert outcome.code == UsageError.exit_code
    assert "does not say where its rows are" in outcome.err
    assert "files or hub" in outcome.err
    assert "data.source" in outcome.err
    assert "label: '{{ label }}'" in call("tasks", "nli-two-way/short").out
    assert "nli-two-way" not in call("tasks").out


def test_a_model_abstains(call: Call, own: str, tiny_llama: Path) -> None:
    options = ("--tasks", own, "--shots", "0", "model.dtype=float32", "--abstain", "0.6")
    outcome = call("evaluate", str(tiny_llama), *options)
    assert outcome.code == 0, outcome.err
    assert "parity: With a confidence of at least 0.6 the model answers" in outcome.out
    (document,) = call("evaluate", str(tiny_llama), *options, "--json").document
    (record,) = document["tasks"]
    assert record["abstention"]["threshold"] == 0.6
    assert [each["label"] for each in record["by_class"]["classes"]] == ["0", "1"]
    assert sum(each["n"] for each in record["reliability"]["bins"]) == 20
    for wrong in ("60", "0", "1", "-0.5"):
        assert call("evaluate", str(tiny_llama), *options[:-1], wrong).code == UsageError.exit_code


def test_choices_without_metrics_have_those_of_classes(
    call: Call, own: str, in_tmp_path: Path, tiny_llama: Path
) -> None:
    (in_tmp_path / own).write_text(OWN.replace("metrics: [acc]\n", ""), encoding="utf-8")
    options = ("--tasks", own, "--shots", "0", "model.dtype=float32", "--json")
    (document,) = call("evaluate", str(tiny_llama), *options).document
    names = [metric["name"] for metric in document["tasks"][0]["metrics"]]
    assert names == ["acc", "balanced_accuracy", "macro_f1"]
