from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core.console import Console
from luthier.core.example import Example, Message


@pytest.fixture
def console() -> Console:
    return Console(io.StringIO())


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as JSON lines."""

    def write(name: str, rows: list[Any]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def make_example() -> Callable[..., Example]:
    def make(prompt: str, answer: str = "yes", group: str = "", **values: Any) -> Example:
        fields = {"id": f"{prompt}|{answer}", "where": f"rows.jsonl:{prompt}", **values}
        messages = (Message("user", prompt),)
        return Example(messages=messages, references=(answer,), group=group, **fields)

    return make


@pytest.fixture(scope="session")
def tokenizer(bundled_handle: Any) -> Any:
    """The tokenizer of the bundled model, with its chat template."""
    return bundled_handle.tokenizer
