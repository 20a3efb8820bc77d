"""Options that became commands or have another name: whoever types one is told which."""

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
"""For each command the options that it once had, and the command or option that does it now."""


def renamed_option(arguments: Sequence[str]) -> UsageError | None:
    """The error for the first option that is called otherwise now; None where there is none.

    Args:
        arguments: a command line that was not understood.
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
            return UsageError(f"{problem}: it has another name", fix=f"write {now}")
        return UsageError(f"{problem}: it is a command of its own", fix=f"luthier {now}")
    return None
