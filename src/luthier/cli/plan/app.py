"""``luthier plan`` and its subcommands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cyclopts import App

from luthier.cli.groups import command_group
from luthier.cli.plan.calibrate import calibrate
from luthier.cli.plan.check import check
from luthier.cli.plan.estimate import estimate
from luthier.cli.plan.inference import inference
from luthier.cli.plan.search import search
from luthier.cli.plan.trace import trace

_HELP = """\
Estimate memory, time and cost before training.

'luthier plan MODEL' is short for 'luthier plan estimate MODEL', whose options are below.
"""
_EXAMPLES = """\
Examples:
  luthier plan llama-3.1-8b --hardware rtx-4090 --method qlora --tokens 1e7
  luthier plan search llama-3.1-70b --hardware h100 --devices 8
  luthier plan search llama-3.1-8b --hardware any
"""

_QUESTIONS: tuple[Callable[..., Any], ...] = (
    estimate,
    search,
    inference,
    trace,
    check,
    calibrate,
)


def make_app() -> App:
    """The command with its subcommands."""
    made = command_group(
        "plan",
        _HELP,
        help_epilogue=_EXAMPLES,
    )
    made.default(estimate)
    for place, question in enumerate(_QUESTIONS):
        made.command(question, sort_key=place)
    return made


def __getattr__(name: str) -> Any:
    """``app``, recreated for each command line: cyclopts may store a shorter help in it."""
    if name == "app":
        return make_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
