"""Options that became commands: whoever types one is told the command."""

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
    },
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
"""For each command the options that it once had, and the command that does it now."""


def renamed_option(arguments: Sequence[str]) -> UsageError | None:
    """The error for the first option that has become a command; None where there is none.

    Args:
        arguments: a command line that was not understood.
    """
    command, *words = arguments or [""]
    commands = RENAMED.get(command, {})
    for word in words:
        option = word.partition("=")[0]
        if option in commands:
            return UsageError(
                f"'luthier {command}' has no {option}: it is a command of its own",
                fix=f"luthier {commands[option]}",
            )
    return None
