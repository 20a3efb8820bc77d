"""Renamed options, with errors that name the current option or command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from luthier.core.errors import UsageError

RENAMED: Mapping[str, Mapping[str, str]] = {
    "plan": {
        "--best": "plan search MODEL --hardware DEVICE",
        "--largest": "plan search any --hardware DEVICE",
        "--inference": "plan inference MODEL",
        "--trace": "plan trace MODEL",
        "--check": "plan check RUN",
        "--calibrate": "plan calibrate",
        "--length": "--seq-len",
        "--step-sequences": "--global-batch-size",
        "--tables-apart": "--shard-embeddings",
        "--trained-share": "--loss-token-fraction",
    },
    "tune": {"--inspect": "inspect --method METHOD"},
    "prompt": {"--ask": "--input"},
    "evaluate": {
        "--before": "forgetting RUN --before MODEL_OR_RUN",
        "--after": "forgetting RUN",
        "--power": "sample-size DIFFERENCE [RUN]",
        "--base-rate": "sample-size DIFFERENCE --base-rate SHARE",
        "--submission": "submit TARGET --tasks TASKS --folder FOLDER",
    },
    "compare": {
        "--judge": "judge RUN --model MODEL",
        "--judge-name": "judge RUN --model URL --model-name NAME",
        "--judge-template": "judge RUN --model MODEL --template FILE",
    },
}
"""Former options by command, with the command or option that replaces each."""


def renamed_option(arguments: Sequence[str]) -> UsageError | None:
    """The error for the first renamed option; None if there is none.

    Args:
        arguments: a command line that could not be parsed.
    """
    command, *words = arguments or [""]
    commands = RENAMED.get(command, {})
    for word in words:
        option = word.partition("=")[0]
        if option not in commands:
            continue
        now = commands[option]
        problem = f"'luthier {command}' has no {option}"
        if now.startswith("--"):
            return UsageError(f"{problem}: it was renamed", fix=f"use {now}")
        return UsageError(f"{problem}: it is now a command", fix=f"luthier {now}")
    return None
