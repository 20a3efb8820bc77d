"""A command that is shown can be copied, however wide the terminal is."""

from __future__ import annotations

import io
import shlex

import pytest

from luthier.core.shell import Command
from luthier.core.terminal import TerminalConsole

ARGUMENTS = (
    *("luthier", "plan", "a model's name", "--hardware", "rtx-4090", "--offload", "--method"),
    *("qlora", "--targets", "[q_proj, v_proj]", "--precision", "fp16-mixed", "--compiled"),
)


@pytest.mark.parametrize("width", [24, 40, 60, 80, 200])
def test_a_shell_reads_the_lines_as_the_command(width: int) -> None:
    out = io.StringIO()
    TerminalConsole(out, width=width).print(Command(ARGUMENTS), crop=False)
    shown = out.getvalue()
    assert tuple(shlex.split(shown.replace("\\\n", " "))) == ARGUMENTS
    lines = shown.splitlines()
    assert all(line.endswith(" \\") for line in lines[:-1])
    if width >= 40:
        assert max(map(len, lines)) <= width


def test_an_option_stands_beside_its_value() -> None:
    out = io.StringIO()
    TerminalConsole(out, width=40).print(Command(ARGUMENTS), crop=False)
    for pair in ("--hardware rtx-4090", "--method qlora", "--precision fp16-mixed"):
        assert pair in out.getvalue()
    assert str(Command(ARGUMENTS)) == shlex.join(ARGUMENTS)
