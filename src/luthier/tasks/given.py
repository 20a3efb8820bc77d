"""Whether a YAML file that was given to a command is a task (or several) or a configuration."""

from __future__ import annotations

from pathlib import Path

from luthier.config.base import Config
from luthier.config.run import RunConfig
from luthier.config.yaml import read_yaml
from luthier.core.errors import UsageError
from luthier.core.names import listed, named
from luthier.tasks.documents import KINDS, WORDINGS
from luthier.tasks.mixture import Mixture

_BOTH = ("name", "prompt")
"""Keys of both. A name decides nothing; the prompt of a task is a text."""


def is_task_file(path: Path) -> bool:
    """Whether a YAML file is a task, suite or mixture and not a configuration, by its keys.

    Raises:
        UsageError: it cannot be read, or has keys of both.
    """
    document = read_yaml(path)
    kinds: tuple[type[Config], ...] = (*KINDS.values(), Mixture)
    of_task = {name for kind in kinds for name in kind.model_fields} | {WORDINGS, "kind"}
    keys = [key for key in document.values if key not in _BOTH]
    tasks = [key for key in keys if key in of_task]
    sections = [key for key in keys if key in RunConfig.model_fields]
    if "prompt" in document.values:
        is_text = isinstance(document.values["prompt"], str)
        (tasks if is_text else sections).append("prompt")
    if tasks and sections:
        raise UsageError(
            f"the file mixes a task ({listed(tasks, show=named)}) with a configuration "
            f"({listed(sections, show=named)})",
            where=document.where((sections[0],)),
            fix="keep the task in a file of its own, such as task.yaml, and name it in data.source",
        )
    return bool(tasks)
