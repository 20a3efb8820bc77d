"""What commands print is whole on narrow and on wide terminals."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
from pathlib import Path

import pytest
from cyclopts import App

import luthier
from luthier.cli.main import _COMMANDS, run
from luthier.core.method_facts import METHOD_NAMES
from luthier.planning.methods import METHODS
from luthier.planning.training_setup import OPTIMIZERS, PRECISIONS

COMMANDS = (
    ("plan", "llama-3.1-8b", "--hardware", "t4", "--method", "qlora", "--price", "2"),
    ("plan", "search", "llama-3.1-8b", "--hardware", "any", "--tokens", "1e9", "--price", "2"),
    ("plan", "search", "llama-3.1-70b", "--hardware", "h100", "--devices", "8"),
    ("plan", "inference", "llama-3.1-8b", "--hardware", "a100"),
    ("plan", "llama-3.1-8b", "--hardware", "rtx-4090", "--method", "full"),
    ("models",),
    ("tasks",),
    ("prompt", "--templates"),
    ("doctor",),
)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_cut_and_nothing_is_too_wide(
    command: tuple[str, ...],
    width: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    run(command)
    text = capsys.readouterr().out
    assert text
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_runs_are_listed_with_whole_names(
    width: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    names = [f"python-docstrings-smollm2-135m-instruct-tune-{n:06x}" for n in range(3)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("method: lora\n")
    assert run(["runs", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for name in (*names, "smollm2-135m-instruct", "python-docstrings"):
        assert name in text


def test_the_help_names_every_choice(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "--help"]) == 0
    shown = capsys.readouterr().out
    words = set(shown.replace(",", " ").replace(".", " ").replace(";", " ").split())
    assert {*METHODS, "qlora", *PRECISIONS, *OPTIMIZERS} <= words
    assert run(["tune", "--help"]) == 0
    words = set(capsys.readouterr().out.replace(",", " ").replace(".", " ").split())
    assert set(METHOD_NAMES) <= words


def test_no_help_text_is_cut_where_a_second_string_begins() -> None:
    """Of two string statements in a row, only the first is the help of what stands before."""
    for path in (Path(luthier.__file__).parent / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef):
                continue
            is_text = [
                isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
                for one in node.body
            ]
            pairs = itertools.pairwise(is_text)
            assert (True, True) not in pairs, f"{path.name}: {node.name}"


@pytest.mark.parametrize("command", [name for name, *_ in _COMMANDS])
def test_a_commands_help_holds_all_that_its_docstring_says(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each, only the line was shown with which all are listed."""
    monkeypatch.setenv("COLUMNS", "80")
    path = next(path for name, path, _ in _COMMANDS if name == command)
    module, _, function = path.partition(":")
    found = getattr(importlib.import_module(module), function)
    written = found.help if isinstance(found, App) else inspect.getdoc(found)
    assert written
    assert run([command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert " ".join(written.partition("Args:")[0].split()) in shown
