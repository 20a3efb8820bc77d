"""``luthier submit``."""

from __future__ import annotations

from pathlib import Path

from luthier.cli.flags import Json, WholeOrNone
from luthier.cli.options import names_of, read_configuration
from luthier.cli.output import print_json, print_result


def submit(
    target: str,
    /,
    *settings: str,
    tasks: str,
    folder: Path,
    model_name: str | None = None,
    shots: WholeOrNone = None,
    json: Json = False,
) -> None:
    """Write predictions for a leaderboard: answers to the unlabelled split of each task.

    Args:
        target: A run, a model, or the URL of a server.
        settings: Single settings as section.key=value.
        tasks: Tasks and suites with a leaderboard, separated by commas, such as superglue.
        folder: The folder for the files, one per task in the leaderboard's format.
        model_name: The model's name on the server, if it has several.
        shots: Number of shots before each question; default: each task's own.
    """
    config = read_configuration(settings, None, model__endpoint__name=model_name)
    import luthier

    written = luthier.submit(target, names_of(tasks), folder, config, shots=shots)
    if json:
        print_json({"files": [str(path) for path in written]})
    else:
        print_result(*map(str, written))
