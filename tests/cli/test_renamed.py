"""Options that became commands or have another name: whoever types one is told which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.renamed import RENAMED
from luthier.core.errors import UsageError

Call = Callable[..., Any]
ENTRIES = [(command, option) for command, options in RENAMED.items() for option in options]


@pytest.mark.sample(20)
@pytest.mark.parametrize(("command", "option"), ENTRIES)
@pytest.mark.parametrize("form", ["{} x", "{}=x", "one {}", "one two {} x"])
def test_an_old_option_names_its_command(call: Call, command: str, option: str, form: str) -> None:
    outcome = call(command, *form.format(option).split())
    assert outcome.code == UsageError.exit_code
    said = " ".join(outcome.err.split())
    assert f"'luthier {command}' has no {option}" in said
    now = RENAMED[command][option]
    assert (f"do: use {now}" if now.startswith("--") else f"do: luthier {now}") in said


@pytest.mark.parametrize(
    ("command", "option"), [entry for entry in ENTRIES if RENAMED[entry[0]][entry[1]][0] == "-"]
)
def test_the_option_that_is_named_exists(call: Call, command: str, option: str) -> None:
    shown = call(*("plan", "estimate") if command == "plan" else (command,), "--help").out
    assert RENAMED[command][option] in shown
    assert f"{option} " not in shown


@pytest.mark.parametrize(
    ("command", "option"), [entry for entry in ENTRIES if RENAMED[entry[0]][entry[1]][0] != "-"]
)
def test_the_command_that_is_named_exists_with_its_options(
    call: Call, command: str, option: str
) -> None:
    words = RENAMED[command][option].split()
    name = words[: 1 + words[0].startswith("plan")]
    shown = call(*name, "--help").out
    assert f"Usage: luthier {' '.join(name)} " in shown
    assert all(word in shown for word in words if word.startswith("--"))


def test_a_mistake_beside_an_option_of_another_command_is_a_mistake(call: Call) -> None:
    outcome = call("tune", "--judge", "x")
    assert outcome.code == UsageError.exit_code
    assert "unknown option --judge" in outcome.err


def test_a_subcommand_wins_over_a_model_of_its_name(
    call: Call, tiny_llama: Path, in_tmp_path: Path
) -> None:
    Path("check").symlink_to(tiny_llama)
    assert "RUNS" in call("plan", "check").err
    for words in (("estimate", "check"), ("./check",)):
        outcome = call("plan", *words, "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.document["model"] == words[-1]


def test_a_plan_without_a_subcommand_is_an_estimate(call: Call) -> None:
    options = ("gpt2", "--hardware", "t4", "--json")
    assert call("plan", *options) == call("plan", "estimate", *options)
