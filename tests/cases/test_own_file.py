"""A table of support tickets: from the file to a ladder in two commands, and its wrong forms."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from luthier.config import DataConfig, PromptConfig
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.data.dataset import load_dataset
from luthier.data.splits import SPLITS
from luthier.records.ladder import LadderRecord
from luthier.records.run_directory import RunDirectory

Call = Callable[..., Any]
Row = dict[str, str]
FRAME = "Queue (account, billing, technical or shipping):"


@pytest.fixture
def tickets(inputs: Path, in_tmp_path: Path) -> list[Row]:
    content = (inputs / "rows/support-tickets.csv").read_text(encoding="utf-8")
    Path("tickets.csv").write_text(content, encoding="utf-8")
    with Path("tickets.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def own_words(example: Example) -> set[str]:
    """The words of a ticket, without the text that all prompts share."""
    text = example.messages[-1].content.removesuffix(FRAME)
    return set(re.findall(r"\w+", text.casefold())) - {"subject", "body"}


def test_two_commands_make_a_ladder(
    call: Call, tickets: list[Row], tiny_llama: Path, one_thread: None
) -> None:
    outcome = call("init", "tickets.csv", "--yes")
    assert outcome.code == 0, outcome.err
    shown = " ".join(outcome.out.split())
    assert "All rows are near-duplicates of others" in shown
    assert "--group customer keeps each customer in one split" in shown

    dataset = load_dataset(DataConfig(source="task.yaml"), PromptConfig(), 0, Console(quiet=True))
    parts = [[own_words(example) for example in dataset.split(name)] for name in SPLITS]
    assert all(parts)
    for one, other in combinations(parts, 2):
        assert not any(len(a & b) >= 0.6 * len(a | b) for a in one for b in other)

    settings = ("--rungs", "zero-shot,lora", "train.max_steps=2", "evaluate.resamples=100")
    outcome = call("adapt", "task.yaml", "--model", str(tiny_llama), "--name", "x", *settings)
    assert outcome.code == 0, outcome.err
    assert "linear" in outcome.out
    record = LadderRecord.read(RunDirectory.open(Path("runs/x")).ladder)
    rungs = {rung.name: rung for rung in record.rungs}
    assert list(rungs) == ["majority", "linear", "zero-shot", "lora"]
    found = {name: rung.metrics[0].value for name, rung in rungs.items()}
    assert found["linear"] > found["majority"]
    reasons = " ".join(record.recommendation.reasons)
    assert found["zero-shot"] >= found["majority"] or (
        "zero-shot does worse than always giving the most frequent answer" in reasons
    )
    assert (RunDirectory.open(Path("runs/x")).path / "report.html").is_file()


def lines_of(rows: list[Row], separator: str = ",") -> str:
    quoted = ("".join(f'{separator}"{cell}"' for cell in map(doubled, row.values()))[1:]
              for row in rows)  # fmt: skip
    return "\n".join((separator.join(rows[0]), *quoted)) + "\n"


def doubled(cell: str) -> str:
    return cell.replace('"', '""')


SHAPES: dict[str, Callable[[list[Row]], bytes]] = {
    "array.json": lambda rows: json.dumps(rows).encode(),
    "array.jsonl": lambda rows: json.dumps(rows).encode(),
    "wrapped.json": lambda rows: json.dumps({"data": rows}).encode(),
    "bom.csv": lambda rows: lines_of(rows).encode("utf-8-sig"),
    "bom_semicolon.csv": lambda rows: lines_of(rows, ";").encode("utf-8-sig"),
    "utf16.csv": lambda rows: lines_of(rows, "\t").encode("utf-16"),
    "latin1.csv": lambda rows: lines_of(rows).encode("cp1252", "replace"),
    "semicolon.csv": lambda rows: lines_of(rows, ";").encode(),
    "tabs.tsv": lambda rows: "\n".join(
        "\t".join(cells) for cells in (rows[0], *(row.values() for row in rows))
    ).encode(),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_file_of_another_shape_makes_the_same_task(
    name: str, call: Call, tickets: list[Row]
) -> None:
    Path(name).write_bytes(SHAPES[name](tickets))
    expected = call("init", "tickets.csv", "-o", "expected.yaml", "--json").document
    outcome = call("init", name, "-o", "found.yaml", "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.document
    for key in ("rows", "label", "texts", "group", "classes", "other_labels"):
        assert found[key] == expected[key], key
    wanted = Path("expected.yaml").read_text().replace("tickets.csv", name)
    assert (
        Path("found.yaml").read_text().partition("\nfiles:")[2] == wanted.partition("\nfiles:")[2]
    )


def test_one_bad_row_is_named_and_the_others_are_drafted(call: Call, tickets: list[Row]) -> None:
    lines = [json.dumps(row) for row in tickets]
    Path("broken.jsonl").write_text("\n".join([*lines[:4], lines[4][:-9], *lines[5:]]))
    outcome = call("init", "broken.jsonl")
    assert outcome.code == 0, outcome.err
    assert "1 row left out, such as broken.jsonl:5 (invalid JSON" in " ".join(outcome.out.split())


def test_misspelt_labels_are_named(call: Call, tickets: list[Row]) -> None:
    billing = [row for row in tickets if row["queue"] == "billing"]
    billing[0]["queue"], billing[1]["queue"] = "biling", "Billing"
    Path("typo.csv").write_text(lines_of(tickets), encoding="utf-8")
    outcome = call("init", "typo.csv", "--json")
    meant = {each["label"]: each["typo_of"] for each in outcome.document["classes"]}
    assert {label: other for label, other in meant.items() if other} == {
        "biling": "billing",
        "Billing": "billing",
    }


def test_pairs_of_prompt_and_label_make_choices(call: Call, tickets: list[Row]) -> None:
    pairs = [{"prompt": row["body"], "completion": row["queue"]} for row in tickets]
    Path("pc.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    found = call("init", "pc.jsonl", "--json").document
    assert (found["label"], len(found["classes"])) == ("completion", 4)


def test_folders_are_labels_and_files_without_labels_are_refused(
    call: Call, tickets: list[Row]
) -> None:
    for n, row in enumerate(tickets[:80]):
        for folder in (Path("labels", row["queue"]), Path("flat")):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{n}.txt").write_text(row["body"], encoding="utf-8")
    found = call("init", "labels", "--json").document
    assert (found["label"], found["rows"], len(found["classes"])) == ("label", 80, 4)
    refused = call("init", "flat", "-o", "flat.yaml")
    assert refused.code == DataError.exit_code
    assert "make a folder for each label" in refused.err
    Path("lines.txt").write_text("\n".join(row["subject"] for row in tickets), encoding="utf-8")
    refused = call("init", "lines.txt", "-o", "lines.yaml")
    assert refused.code == DataError.exit_code
    assert "save it as .csv" in refused.err


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.csv", b"", "there are no rows"),
        ("empty.jsonl", b"", "there are no rows"),
        ("header_only.csv", b"subject,body,queue\n", "only a header"),
        ("tickets.xlsx", b"PK\x03\x04", "not an Excel workbook"),
        ("task.yaml", b"kind: classify", "kind .yaml are not supported"),
    ],
)
def test_a_file_without_rows_is_refused_with_a_way_out(
    name: str, content: bytes, says: str, call: Call, in_tmp_path: Path
) -> None:
    Path(name).write_bytes(content)
    outcome = call("init", name, "-o", "out.yaml")
    assert outcome.code == DataError.exit_code
    assert says in outcome.err
    assert "do:" in outcome.err
    assert not Path("out.yaml").exists()


def test_a_very_long_row_is_said_before_training(
    call: Call, tickets: list[Row], tiny_llama: Path
) -> None:
    for place in (3, 5, 9):
        tickets[place]["body"] += " and so on" * 9_000
    Path("long.csv").write_text(lines_of(tickets), encoding="utf-8")
    assert call("init", "long.csv").code == 0
    outcome = call("adapt", "task.yaml", "--dry-run", "--model", str(tiny_llama))
    assert outcome.code == DataError.exit_code
    named = re.findall(r"long\.csv:(\d+).{0,3}the prompt has|at: long\.csv:(\d+)", outcome.err)
    assert {line for pair in named for line in pair if line} <= {"5", "7", "11"}
    assert named
    assert "evaluate.too_long=drop leaves such test examples out" in outcome.err


def test_a_question_of_the_subject_only_repeats(
    call: Call, tickets: list[Row], tiny_llama: Path
) -> None:
    assert call("init", "tickets.csv", "--text", "subject").code == 0
    outcome = call("data", "show", "task.yaml", "--model", str(tiny_llama))
    told = " ".join(outcome.err.split())
    assert "257 of 300 rows (86%) are left out" in told
    assert "the question lacks a column that tells them apart" in told
