"""``luthier init``: from a file of one's own to a task that the other commands take."""

from __future__ import annotations

import csv
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.core.errors import UsageError

Call = Callable[..., Any]
QUEUES = ("billing", "technical", "account", "shipping")
ROWS = [
    {
        "subject": f"Order {n}",
        "body": f"Hello, my order {n} is not here, and I wait.",
        "queue": QUEUES[n % 4],
        "priority": ("low", "high")[n % 2],
        "customer": f"C{n % 31}",
    }
    for n in range(93)
]


@pytest.fixture
def tickets(in_tmp_path: Path) -> Path:
    return write(Path("tickets.csv"), ROWS)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_what_a_person_sees(call: Call, tickets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = call("init", "tickets.csv")
    assert outcome.code == 0, outcome.err
    assert all(len(line.rstrip()) <= 80 for line in outcome.out.splitlines())
    for words in (
        "tickets.csv  93 rows, 5 columns",
        "queue: 4 classes",
        "Queue (billing, account, shipping or technical):",
        "→ billing",
        "could also be 'priority'",
        "luthier adapt task.yaml",
    ):
        assert words in outcome.out
    assert 'files:\n  splits: "tickets.csv"\n' in Path("task.yaml").read_text()


@pytest.mark.parametrize("command", ["data show", "tune --dry-run", "adapt --dry-run", "plan"])
def test_the_other_commands_take_the_file(
    command: str, call: Call, tickets: Path, tiny_llama: Path
) -> None:
    assert call("init", "tickets.csv").code == 0
    if command == "plan":
        outcome = call("config", "show", "task.yaml", "--json")
        assert outcome.document["data"]["source"] == "task.yaml"
        return
    outcome = call(*command.split(), "task.yaml", "--model", str(tiny_llama))
    assert outcome.code == 0, outcome.err
    assert "tickets" in outcome.out


def test_the_benchmark_measures_the_rows_that_a_run_holds_out(
    call: Call, tickets: Path, tiny_llama: Path, one_thread: None
) -> None:
    """The same seed divides the file in the same way."""
    from luthier.config.data import DataConfig
    from luthier.config.prompt import PromptConfig
    from luthier.core.console import Console
    from luthier.data.dataset import load_dataset

    assert call("init", "tickets.csv").code == 0
    outcome = call("evaluate", str(tiny_llama), "--tasks", "task.yaml", "seed=4", "--json")
    assert outcome.code == 0, outcome.err
    data = DataConfig(source="task.yaml")
    dataset = load_dataset(data, PromptConfig(), 4, Console(quiet=True))
    (task,) = outcome.document[0]["tasks"]
    assert task["split"] == "test"
    assert task["metrics"][0]["n"] == len(dataset.test)


def test_the_benchmark_says_how_a_file_was_read(
    call: Call, in_tmp_path: Path, tiny_llama: Path, one_thread: None
) -> None:
    write(Path("t.csv"), ROWS)
    Path("t.csv").write_bytes(Path("t.csv").read_text().replace("Hello", "Grüße").encode("cp1252"))
    assert call("init", "t.csv").code == 0
    outcome = call("evaluate", str(tiny_llama), "--tasks", "task.yaml", "--limit", "4")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("is read as Windows-1252") == 1


def test_nothing_is_overwritten(call: Call, tickets: Path) -> None:
    Path("task.yaml").write_text("mine")
    outcome = call("init", "tickets.csv")
    assert outcome.code == UsageError.exit_code
    assert "exists already" in outcome.err
    assert "--force" in outcome.err
    assert Path("task.yaml").read_text() == "mine"
    assert call("init", "tickets.csv", "-o", "other.yaml").code == 0
    assert call("init", "tickets.csv", "--force").code == 0
    assert Path("task.yaml").read_text() == Path("other.yaml").read_text()
    with pytest.raises(UsageError, match="exists already"):
        luthier.init("tickets.csv", "task.yaml")


@pytest.mark.parametrize("name", ["tickets.csv", "link.yaml", "hard.yaml"])
def test_the_rows_are_never_overwritten(call: Call, tickets: Path, name: str) -> None:
    content = Path("tickets.csv").read_bytes()
    Path("link.yaml").symlink_to("tickets.csv")
    Path("hard.yaml").hardlink_to("tickets.csv")
    outcome = call("init", "tickets.csv", "-o", name, "--force")
    assert outcome.code == UsageError.exit_code
    assert "the rows are read from this file" in outcome.err
    assert Path("tickets.csv").read_bytes() == content


def test_the_user_knows_better(call: Call, tickets: Path) -> None:
    given = ("--label", "priority", "--text", "body", "--group", "")
    outcome = call("init", "tickets.csv", *given, "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.document
    assert (found["label"], found["texts"], found["group"]) == ("priority", ["body"], "")
    assert found["file"] == "task.yaml"
    text = Path("task.yaml").read_text()
    assert "group:" not in text
    assert "Subject" not in text


def test_a_task_in_another_folder_finds_its_rows(call: Call, tickets: Path) -> None:
    Path("tasks").mkdir()
    assert call("init", "tickets.csv", "-o", "tasks/t.yaml").code == 0
    assert 'splits: "../tickets.csv"' in Path("tasks/t.yaml").read_text()


def test_adapt_without_a_task_drafts_one_and_says_so(
    call: Call, tickets: Path, tiny_llama: Path
) -> None:
    outcome = call("adapt", "tickets.csv", "--dry-run", "--model", str(tiny_llama))
    assert outcome.code == 0, outcome.err
    assert "no task is given, so one is drafted: subject and body → queue" in outcome.err
    assert "luthier init tickets.csv" in outcome.err
    assert "accuracy" in outcome.out
    assert not Path("task.yaml").exists()


def test_a_table_without_a_task_is_refused(call: Call, in_tmp_path: Path) -> None:
    write(Path("x.csv"), [{"a": str(n), "b": f"{n * 3}"} for n in range(30)])
    outcome = call("adapt", "x.csv", "--dry-run")
    assert outcome.code == 3
    assert "no task can be drafted" in outcome.err
    assert "luthier init" in outcome.err


def test_a_bad_row_is_named_and_left_out(call: Call, in_tmp_path: Path) -> None:
    path = write(Path("t.csv"), ROWS)
    with path.open("a") as file:
        file.write("one,two\n")
    outcome = call("init", "t.csv")
    assert outcome.code == 0, outcome.err
    assert "1 row left out, such as t.csv:95" in " ".join(outcome.out.split())
    assert "data.invalid=drop" in outcome.out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("priority\n", "{{ priority }}"), ("\n", "{{ queue }}"), ("x\nqueue\n", "{{ queue }}")],
)
def test_it_asks_on_a_terminal(typed: str, expected: str, tickets: Path) -> None:
    said = _on_a_terminal(["init", "tickets.csv"], typed)
    assert "Which column is the right answer: queue, priority?" in said
    assert f'label: "{expected}"' in Path("task.yaml").read_text()


def test_it_asks_before_it_replaces_and_corrects(in_tmp_path: Path) -> None:
    rows = [dict(row) for row in ROWS]
    rows[0]["queue"] = "biling"
    write(Path("t.csv"), [{k: v for k, v in row.items() if k != "priority"} for row in rows])
    Path("task.yaml").write_text("mine")
    said = _on_a_terminal(["init", "t.csv"], "n\n")
    assert "task.yaml exists. Replace it? [y/N]" in said
    assert Path("task.yaml").read_text() == "mine"
    said = _on_a_terminal(["init", "t.csv"], "y\n\n")
    assert "(biling → billing)? [Y/n]" in said
    assert "\n  labels: {biling: billing}" in Path("task.yaml").read_text()


def test_it_asks_nothing_with_yes(tickets: Path) -> None:
    said = _on_a_terminal(["init", "tickets.csv", "--yes"], "")
    assert "Which column" not in said
    assert Path("task.yaml").exists()


def _on_a_terminal(arguments: list[str], typed: str) -> str:
    """The output of a command whose standard input and output are a terminal."""
    ours, theirs = pty.openpty()
    code = "import sys; from luthier.cli.main import main; main(sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=theirs, stdout=theirs, stderr=theirs
    ):
        os.close(theirs)
        os.write(ours, typed.encode())
        said = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:
                break
            if not piece:
                break
            said += piece
    os.close(ours)
    return said.decode()


def test_near_duplicates_are_shown(call: Call, in_tmp_path: Path) -> None:
    things = ("lamp", "tent", "desk", "rug", "stove", "clock", "chair", "table", "shelf", "box")
    bodies = [
        f"My {thing} is broken and the old {thing} was better {copy}"
        for thing in things
        for copy in range(12)
    ]
    rows = [
        {"body": body, "queue": QUEUES[n % 4], "customer": f"C{n % 41}"}
        for n, body in enumerate(bodies)
    ]
    write(Path("t.csv"), rows)
    outcome = call("init", "t.csv", "--group", "")
    assert outcome.code == 0, outcome.err
    shown = " ".join(outcome.out.split())
    assert "All rows are near-duplicates of others, such as t.csv:2 and t.csv:3" in shown
    assert "they stay in one split." in shown
    chained = call("init", "t.csv", "-o", "other.yaml")
    assert "through customer they would chain most rows" in " ".join(chained.out.split())
    found = call("init", "t.csv", "-o", "third.yaml", "--json").document
    assert found["near_duplicates"]["is_chained_by_groups"] is True


def test_a_question_that_repeats_lacks_a_column(call: Call, tickets: Path) -> None:
    rows = [{**row, "subject": f"My order {n % 9}"} for n, row in enumerate(ROWS)]
    write(tickets, rows)
    outcome = call("init", "tickets.csv", "--text", "subject")
    assert "the question may lack a column" in " ".join(outcome.out.split())


def test_no_line_ends_in_blanks(call: Call, tickets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for command in (("init", "tickets.csv"), ("data", "show", "task.yaml")):
        outcome = call(*command)
        assert outcome.code == 0, outcome.err
        assert not [line for line in outcome.out.splitlines() if line != line.rstrip()]
