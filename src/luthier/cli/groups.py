"""The groups of options in help texts, in the order of display."""

from __future__ import annotations

from typing import Any

from cyclopts import App, Group

MODEL_AND_DATA = Group("Model and data", sort_key=1)
MODEL_AND_HARDWARE = Group("Model and hardware", sort_key=1)
TASKS = Group("Benchmark tasks", sort_key=2)
METHOD = Group("Method and precision", sort_key=2)
BATCH = Group("Batch", sort_key=3)
TRAINING = Group("Training", sort_key=4)
RUN = Group("Run", sort_key=5)
OPTIONS = Group("Options", sort_key=6)
"""The group of a command's own options."""


def command_group(name: str, purpose: str, **settings: Any) -> App:
    """An app for a command with subcommands.

    Args:
        name: the command's name.
        purpose: its one-line description.
        settings: arguments of `cyclopts.App`.
    """
    return App(name=name, help=purpose, group_parameters=OPTIONS, **settings)
