"""What a tracker is."""

from __future__ import annotations

import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from luthier.config.train import TrackerName
from luthier.core.files import read_text, write_atomically
from luthier.core.terminal import printable
from luthier.records.run_directory import RunDirectory

_IDENTITY = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Opening:
    """What a tracker is told when a training starts or goes on.

    Attributes:
        run: the run directory.
        settings: what is trained and how, for comparing runs.
        step: the step after which it starts: what was measured later counts no more.
        resumed: whether it goes on from a checkpoint.
    """

    run: RunDirectory
    settings: Mapping[str, Any]
    step: int
    resumed: bool

    @property
    def title(self) -> str:
        """The run's name; of a rung, the ladder's before its own."""
        path = self.run.path.resolve()
        parents = (path.parent.parent.name,) if path.parent.name == "rungs" else ()
        return printable("-".join((*parents, path.name)))

    def identity(self, tracker: TrackerName) -> str:
        """What tells this training from others there: new when it starts, kept when resumed."""
        path = self.run.path / f"{tracker}-id"
        kept = read_text(path).strip() if self.resumed and path.exists() else ""
        if _IDENTITY.fullmatch(kept):
            return kept
        made = secrets.token_hex(4)
        write_atomically(path, made + "\n")
        return made


class Tracker(ABC):
    """Takes numbers by name and step. It may raise whatever its package raises."""

    @abstractmethod
    def __init__(self, opening: Opening) -> None:
        """Begin, or go on with what an earlier attempt began."""

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int) -> None:
        """Note what was measured after a step."""

    @abstractmethod
    def close(self, failed: bool) -> None:
        """End; ``failed`` says that the training did not come to its end."""
