"""What a message says of a file is short, however much is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.main import run

LONG = "k" * 100_000
MANY = {f"k{number}": "v" for number in range(9000)}
ROWS: dict[str, Any] = {
    "many-keys": MANY,
    "more-keys-than-are-read": {f"k{number}": 1 for number in range(100_000)},
    "a-long-key": {LONG: 1},
    "many-keys-beside": {"prompt": "a", "completion": "b", **MANY},
    "a-long-key-beside": {"prompt": "a", "completion": "b", LONG: "c"},
    "many-keys-in-a-turn": {"messages": [{"role": "user", "content": "a", **MANY}]},
    "a-long-key-in-a-turn": {"messages": [{"role": "user", "content": "a", LONG: 1}]},
    "a-long-role": {"messages": [{"role": LONG, "content": "a"}]},
    "a-long-text-for-a-list": {"messages": LONG},
    "a-key-twice": f'{{"{LONG}": 1, "{LONG}": 2}}',
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = ROWS[name]
    line = row if isinstance(row, str) else json.dumps(row)
    (tmp_path / "rows.jsonl").write_text((line + "\n") * 2)
    run(["data", "show", "--data", str(tmp_path / "rows.jsonl")])
    shown = capsys.readouterr()
    assert "rows.jsonl" in shown.err
    assert max(map(len, shown.err.splitlines())) < 2000
    assert len(shown.err) < 6000


def _yaml(**values: object) -> str:
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())


DOCUMENTS: dict[str, Callable[[], str]] = {
    "many-unknown-keys": lambda: _yaml(**dict(list(MANY.items())[:5000])),
    "a-long-key": lambda: f"{LONG}: 1\n",
    "a-long-value": lambda: _yaml(seed=LONG),
    "a-long-list": lambda: _yaml(seed=list(range(20_000))),
    "a-key-twice": lambda: f"? {LONG}\n: 1\n? {LONG}\n: 2\n",
    "larger-than-any": lambda: _yaml(**{f"k{number}": 1 for number in range(200_000)}),
    "a-name-larger-than-any": lambda: f"name: {'a' * 20_000_000}\n",
    "many-brackets": lambda: "seed: " + "[" * 10_000,
    "many-braces": lambda: "{" * 10_000,
    "deep": lambda: "".join(f"{' ' * depth}a:\n" for depth in range(300)),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_configurations(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(DOCUMENTS[name]())
    assert run(["config", "show", str(tmp_path / "mine.yaml")]) in (2, 3)
    shown = capsys.readouterr().err
    assert "mine.yaml" in shown
    assert max(map(len, shown.splitlines())) < 2000
    assert len(shown) < 12_000
