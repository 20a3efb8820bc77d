"""A folder whose disk runs full, for real commands, and the points at which it does.

A library under the commands (full_disk.c) lets every writing call of the system below a folder
fail from the n-th on, whether Python, torch, safetensors or the tokenizers make it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from safetensors import safe_open
from tests.command_server import Command, CommandServer

from luthier.checkpoint import newest_step
from luthier.core.files import read_lines

SOURCE = Path(__file__).with_name("full_disk.c")
# What is measured anew, or says when it was made.
_MEASURED = ("second", "memory", "created", "hardware", "budget", "overhead", "versions", "date")
# Random and counted parts of names; a temporary name is one of the file that it becomes.
_VARYING = (
    (re.compile(r"\.tmp\w{5,6}$"), "weights"),
    (re.compile(r"(tfevents\.)\d+\..*"), r"\1N"),
    (re.compile(r"^\.(.+)\.[0-9a-f]{16}\.partial$"), r"\1"),
    (re.compile(r"[0-9a-f]{12,}"), "H"),
    (re.compile(r"\d{2,}"), "N"),
)


class Point(NamedTuple):
    """A writing call of the system."""

    operation: str
    path: Path

    @property
    def file(self) -> str:
        """The kind of file that it writes."""
        return general_name(self.path.name)


class Outcome(NamedTuple):
    code: int
    said: str
    points: Sequence[Point]


def general_name(name: str) -> str:
    """A file's name without what is random or counted in it."""
    for pattern, replacement in _VARYING:
        name = pattern.sub(replacement, name)
    return name


def sample(points: Sequence[Point], known: Collection[str] = ()) -> list[int]:
    """The first point, one in the middle, the last, and one of each kind of file.

    Of each file another operation is taken, in turns.

    Args:
        points: of a command that nothing disturbs.
        known: kinds of files that are left out, since another command writes them alike.
    """
    files: dict[str, list[int]] = {}
    for number, point in enumerate(points):
        if point.file not in known:
            files.setdefault(point.file, []).append(number)
    turns = {numbers[turn % len(numbers)] for turn, numbers in enumerate(files.values())}
    return sorted({0, len(points) // 2, *turns, len(points) - 1})


def server_above(folder: Path, environment: Mapping[str, str]) -> CommandServer:
    """A command server above the library, which is compiled into ``folder``."""
    compiler = shutil.which("cc") or pytest.skip("there is no C compiler")
    library = folder / "full_disk.so"
    made = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    if subprocess.run(made, capture_output=True, check=False).returncode:
        pytest.skip("the library is for Linux")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**environment, "LD_PRELOAD": str(library)}.items():
            patch.setenv(name, value)
        return CommandServer()


class Disk:
    """A folder whose disk runs full."""

    def __init__(self, server: CommandServer, folder: Path) -> None:
        self._server = server
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        self._log, self._trace = folder.with_name("log"), folder.with_name("trace")

    def run(
        self,
        arguments: Sequence[str],
        after: int | None = None,
        error: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run a command whose writes fail after so many; None: none of them fails."""
        given = {"FULL_BELOW": f"{self.folder}/", "FULL_TRACE": str(self._trace)}
        if after is not None:
            given |= {"FULL_AFTER": str(after), "FULL_ERROR": str(error)}
        for path in (self._log, self._trace):
            path.write_bytes(b"")
        self._server.start(Command(arguments, str(self._log), {**given, **(environment or {})}))
        (code,) = self._server.wait()
        lines = (line.split(" ", 1) for line in self._trace.read_text("utf-8").splitlines())
        points = [Point(operation, Path(path)) for operation, path in lines]
        return Outcome(code, self._log.read_text("utf-8"), points)

    def holds(self, state: Path) -> None:
        """Put a copy of a folder in the place of what is there."""
        shutil.rmtree(self.folder)
        shutil.copytree(state, self.folder, symlinks=True)

    def assert_intact(self, before: Path) -> None:
        """All that was there is there, no part of anything is, and nothing has a temporary name."""
        for path in before.rglob("*"):
            there = self.folder / path.relative_to(before)
            if "checkpoints" not in path.parts:
                # A training that is extended is not over until it is over, and what was measured
                # of the model before is set aside.
                aside = (one for one in self.folder.rglob(path.name) if "earlier" in one.parts)
                assert there.exists() or path.name == "training.json" or any(aside), path
            elif path.name == "checkpoints":  # older ones are deleted, and one is always left
                assert newest_step(path) is None or newest_step(there) is not None, path
        for path in self.folder.rglob("*"):
            assert not path.name.endswith((".partial", ".incomplete")) or _is_of_the_client(path)
            assert not path.name.startswith((".tmp", ".old", ".probe")), path
            if path.is_file():
                _assert_whole(path)

    def results(self) -> dict[str, Any]:
        """What was measured, by file, without times and sizes of memory; all else by its name."""
        return {
            "/".join(map(general_name, path.relative_to(self.folder).parts)): _result(path)
            for path in self.folder.rglob("*")
            if path.is_file() and not _is_of_the_client(path)
        }


def _is_of_the_client(path: Path) -> bool:
    """Whether it is a leftover of the Hub's own client in its own cache, which it reads past."""
    return path.suffix in (".tmp", ".incomplete", ".lock") and "hub" in path.parts


def _assert_whole(path: Path) -> None:
    if path.suffix == ".json":
        json.loads(path.read_bytes())
    elif path.suffix == ".jsonl":
        list(read_lines(path))
    elif path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            assert list(file.keys())
    elif path.suffix == ".html":
        assert path.read_text("utf-8").rstrip().endswith("</html>"), path


def _result(path: Path) -> Any:
    if path.name in ("ladder.json", "training.json", "rung.json", "forgetting.json") or (
        path.suffix == ".json" and path.parent.name in ("evaluation", "judgements")
    ):
        return _lasting(json.loads(path.read_bytes()))
    return None


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _lasting(item)
            for key, item in value.items()
            if not any(word in key for word in _MEASURED)
        }
    if isinstance(value, str):
        return re.sub(r"\d[\d.,]* (ms|s|min|h)\b", "some time", value)  # in a recommendation
    return [_lasting(item) for item in value] if isinstance(value, list) else value
