"""``luthier plan`` and its subcommands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.cli.groups import command_group
from luthier.cli.plan.calibrate import calibrate
from luthier.cli.plan.check import check
from luthier.cli.plan.estimate import estimate
from luthier.cli.plan.inference import inference
from luthier.cli.plan.search import search
from luthier.cli.plan.trace import trace

_EXAMPLES = """\
Examples:
  luthier plan llama-3.1-8b --hardware rtx-4090 --method qlora --tokens 1e7
  luthier plan search llama-3.1-70b --hardware h100 --devices 8
  luthier plan search llama-3.1-8b --hardware any
"""

app = command_group(
    "plan",
    """Plan memory, time and cost before you pay.

    'luthier plan MODEL' is short for 'luthier plan estimate MODEL', whose options are below.""",
    help_epilogue=_EXAMPLES,
)
app.default(estimate)
_QUESTIONS: tuple[Callable[..., Any], ...] = (
    estimate,
    search,
    inference,
    trace,
    check,
    calibrate,
)
for _place, _question in enumerate(_QUESTIONS):
    app.command(_question, sort_key=_place)
