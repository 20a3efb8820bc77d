"""A fraction is not a whole number; it is not rounded to one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from luthier.cli.flags import whole
from luthier.cli.main import application
from luthier.cli.main import run as luthier

COMMANDS = [name for name in application() if not name.startswith("-")]


def options(app: Any) -> Iterator[Any]:
    """Those of a command and of its subcommands."""
    for name in app:
        if not name.startswith("-"):
            yield from options(app[name])
    if app.default_command:
        yield from app.assemble_argument_collection()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_whole_number_is_read_as_one(name: str) -> None:
    for option in options(application()[name]):
        if int in (option.hint, *get_args(option.hint)):
            assert option.parameter.converter is whole, option.names


@pytest.mark.parametrize("given", ["1.9", "1e3", "", "0x10", "true"])
def test_others_are_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert luthier(["plan", f"--devices={given}"]) == 2
    assert "is not a whole number" in " ".join(capsys.readouterr().err.split())
