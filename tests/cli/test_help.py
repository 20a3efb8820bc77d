"""The help of every command: filled to the terminal's width, and explained."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cyclopts import App

from luthier.cli.help import filled
from luthier.cli.main import _COMMANDS

Call = Callable[..., Any]


def commands() -> Iterator[tuple[str, str]]:
    """Every command and subcommand, and what its docstring says before its arguments."""
    for name, path, _ in _COMMANDS:
        module, _, attribute = path.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, App):
            yield name, inspect.getdoc(found) or ""
            continue
        yield name, inspect.cleandoc(found.help)
        for word in found:
            if not word.startswith("-"):
                yield f"{name} {word}", inspect.cleandoc(found[word].help)


HELP = dict(commands())


@pytest.mark.parametrize("command", HELP)
def test_no_paragraph_is_broken_where_its_docstring_is(
    command: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is room enough, each paragraph and each description is one line."""
    monkeypatch.setenv("COLUMNS", "2000")
    lines = [line.rstrip() for line in call(*command.split(), "--help").out.splitlines()]
    panel = next(number for number, line in enumerate(lines) if line.startswith("╭"))
    said = [" ".join(each.split()) for each in HELP[command].partition("Args:")[0].split("\n\n")]
    assert [line for line in lines[1:panel] if line] == [
        paragraph for paragraph in said if paragraph
    ]
    rows = [line for line in lines if line.startswith("│")]
    assert not [row for row in rows if row.startswith("│" + 6 * " ")]


@pytest.mark.parametrize("command", HELP)
def test_everything_is_explained_in_a_group(
    command: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row holds words, not only a type or a default."""
    monkeypatch.setenv("COLUMNS", "2000")
    text = call(*command.split(), "--help").out
    assert "─ Parameters ─" not in text
    rows = [line.strip("│* ") for line in text.splitlines() if line.startswith("│")]
    for row in rows:
        _, _, words = row.partition("  ")
        assert words.strip(), f"{row!r} is not explained"
        assert not words.strip().startswith("["), f"{row!r} is not explained"


def test_paragraphs_stay_apart() -> None:
    assert filled("one\ntwo\n\nthree\n    four\n") == "one two\n\nthree four\n"


@pytest.mark.sample(10)
@pytest.mark.parametrize("command", HELP)
def test_a_mistake_does_not_change_what_help_says_afterwards(command: str, call: Call) -> None:
    """Commands are made once in a process, and suggestions for a wrong one look at all of them."""
    before = call(*command.split(), "--help").out
    assert "Did you mean" in call("plna").err
    assert call(*command.split(), "--help").out == before
