"""The interface of trackers."""

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
    """The information for a tracker when a training starts or resumes.

    Attributes:
        run: the run directory.
        settings: model, method and training settings, for comparing runs.
        step: the step to start after; later measurements of an earlier attempt are void.
        resumed: whether it resumes from a checkpoint.
    """

    run: RunDirectory
    settings: Mapping[str, Any]
    step: int
    resumed: bool

    @property
    def title(self) -> str:
        """The run's name; for a rung, preceded by the ladder's."""
        path = self.run.path.resolve()
        parents = (path.parent.parent.name,) if path.parent.name == "rungs" else ()
        return printable("-".join((*parents, path.name)))

    def identity(self, tracker: TrackerName) -> str:
        """An id of this training in the tracker: new at the start, kept when resumed."""
        path = self.run.path / f"{tracker}-id"
        kept = read_text(path).strip() if self.resumed and path.exists() else ""
        if _IDENTITY.fullmatch(kept):
            return kept
        made = secrets.token_hex(4)
        write_atomically(path, made + "\n")
        return made


class Tracker(ABC):
    """A receiver of numbers by name and step. It may raise any exception of its package."""

    @abstractmethod
    def __init__(self, opening: Opening) -> None:
        """Start, or continue what an earlier attempt started."""

    @abstractmethod
    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record measurements after a step."""

    @abstractmethod
    def close(self, failed: bool) -> None:
        """Finish; ``failed`` means that the training did not complete."""
