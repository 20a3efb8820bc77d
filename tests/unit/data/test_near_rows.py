"""The near-duplicates that a draft counts are those that a run keeps together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.config import DataConfig, PromptConfig
from luthier.core.console import Console
from luthier.core.row import Row
from luthier.data import near_rows
from luthier.data.dataset import load_dataset
from luthier.data.draft_task import TaskDraft, draft_task
from luthier.data.profile import profile_rows

QUEUES = ("billing", "account")
THINGS = [
    "lamp",
    "tent",
    "desk",
    "rucksack",
    "jacket",
    "stove",
    "kettle",
    "chair",
    "table",
    "shelf",
    "rug",
    "clock",
]


def drafted(rows: list[dict[str, Any]], **given: Any) -> TaskDraft:
    placed = [Row(row, f"t.csv:{n}") for n, row in enumerate(rows, 2)]
    return draft_task("t", placed, profile_rows(placed, **given), file="t.csv")


def tickets(copies: int) -> list[dict[str, Any]]:
    """Twelve different tickets, each written ``copies`` times with another number."""
    return [
        {
            "body": f"My {thing} is broken and the old {thing} {place} was better {copy}",
            "queue": QUEUES[place % 2],
            "customer": f"C{place * copies + copy}",
        }
        for place, thing in enumerate(THINGS)
        for copy in range(copies)
    ]


def test_near_duplicates_are_counted() -> None:
    found = drafted(tickets(3), group="").near_duplicates()
    assert (found.rows, found.groups, found.among) == (36, 12, 36)
    assert found.pair == ("t.csv:2", "t.csv:3")
    assert found.is_whole


def test_without_any() -> None:
    rows = [
        {"body": " ".join(f"{thing}{n}" for thing in THINGS), "queue": QUEUES[n % 2]}
        for n in range(20)
    ]
    found = drafted(rows).near_duplicates()
    assert (found.rows, found.groups, found.pair, found.is_whole) == (0, 0, (), True)


def test_groups_that_chain_them_are_known() -> None:
    rows = tickets(3)
    for n, row in enumerate(rows):
        row["customer"] = f"C{n % 11}"
    found = drafted(rows, group="customer").near_duplicates()
    assert found.is_chained_by_groups
    assert not found.is_whole
    assert drafted(rows, group="").near_duplicates().is_whole


def test_of_many_rows_a_sample_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_rows, "_MOST_ROWS", 24)
    few = drafted(tickets(3), group="").near_duplicates()
    assert few.among == 24
    assert 0 < few.rows <= 24
    monkeypatch.setattr(near_rows, "_MOST_CHARACTERS", 500)
    assert drafted(tickets(3), group="").near_duplicates().among < 12


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_a_run_keeps_as_many_together(
    copies: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draft = drafted(tickets(copies), group="")
    lines = [",".join(map(str, row.values.values())) for row in draft.rows]
    Path("t.csv").write_text("\n".join(["body,queue,customer", *lines]))
    Path("task.yaml").write_text(draft.text)
    data = DataConfig(source="task.yaml", num_validation=None)
    near = load_dataset(data, PromptConfig(), 0, Console(quiet=True)).near
    found = draft.near_duplicates()
    assert (found.rows, found.groups) == (near.examples, near.groups)


def test_samples_are_the_same_each_time() -> None:
    rows = tickets(4)
    first, second = (drafted(rows).near_duplicates() for _ in range(2))
    assert first == second
