"""A small task of one's own, with its files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from luthier.evaluation.asking import load_task
from luthier.tasks.task import Task

Rows = Iterable[Mapping[str, Any]]
MakeTask = Callable[..., Task]


@pytest.fixture
def make_task(tmp_path: Path) -> MakeTask:
    """Makes a task from its keys and the rows of its splits: ``make_task({...}, test=[...])``."""

    def make(keys: Mapping[str, Any], **splits: Rows) -> Task:
        for split, rows in splits.items():
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (tmp_path / f"{split}.jsonl").write_text(lines, encoding="utf-8")
        files = {"splits": {split: f"{split}.jsonl" for split in ("train", "test")}}
        path = tmp_path / "own.yaml"
        path.write_text(json.dumps({"name": "own", "files": files, **keys}), encoding="utf-8")
        found = load_task(str(path))
        assert isinstance(found, Task)
        return found

    return make


@pytest.fixture
def choices() -> dict[str, Any]:
    """The keys of a task with two labels."""
    return {
        "kind": "choices",
        "prompt": "{{ text }} is",
        "label": "{{ label }}",
        "choices": {"0": "cold", "1": "hot"},
        "metrics": ["acc"],
    }
