"""Flags that several commands share. Importing them costs nothing."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

Json = Annotated[bool, Parameter(negative="", show_default=False, help="Print one JSON document.")]
DryRun = Annotated[
    bool,
    Parameter(
        negative="", show_default=False, help="Check everything, load no weights, train nothing."
    ),
]
