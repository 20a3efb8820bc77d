"""Whichever write of a command finds the disk full, it says so, harms nothing, and can go on.

A library under the commands (full_disk.c) lets every writing call of the system below a folder
fail from the n-th on, whether Python, torch, safetensors or the tokenizers make it.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.command_server import Command, CommandServer

from luthier.core.errors import ResourceError
from luthier.core.files import read_lines

SOURCE = Path(__file__).with_name("full_disk.c")
# From the test's seconds to the hour: how many of a command's writes are tried.
FEW = 4
# What is measured anew, or says when it was made.
MEASURED = ("second", "memory", "created", "hardware", "budget", "overhead", "versions")


class Outcome(NamedTuple):
    code: int
    said: str
    operations: int


class Disk:
    """A folder whose disk runs full."""

    def __init__(self, server: CommandServer, folder: Path) -> None:
        self._server = server
        self.folder = folder / "disk"
        self.folder.mkdir()
        self._log, self._count = folder / "log", folder / "count"

    def run(self, arguments: list[str], after: int | None = None, error: int = 0) -> Outcome:
        """Run a command whose writes fail after so many; None: none of them fails."""
        environment = {"FULL_BELOW": f"{self.folder}/", "FULL_COUNT": str(self._count)}
        if after is not None:
            environment |= {"FULL_AFTER": str(after), "FULL_ERROR": str(error)}
        for path in (self._log, self._count):
            path.write_bytes(b"")
        self._server.start(Command(arguments, str(self._log), environment))
        (code,) = self._server.wait()
        return Outcome(code, self._log.read_text("utf-8"), self._count.stat().st_size)

    def holds(self, state: Path) -> None:
        """Put a copy of a folder in the place of what is there."""
        shutil.rmtree(self.folder)
        shutil.copytree(state, self.folder)

    def assert_whole(self) -> None:
        """No part of anything: JSON can be read, and nothing has a temporary name."""
        for path in self.folder.rglob("*"):
            assert not path.name.endswith(".partial"), path
            if path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".jsonl":
                list(read_lines(path))

    def results(self) -> dict[str, Any]:
        """What was measured, by file, without times and sizes of memory."""
        return {
            str(path.relative_to(self.folder)): _lasting(json.loads(path.read_bytes()))
            for path in self.folder.rglob("*.json")
            if path.name in ("ladder.json", "training.json", "rung.json")
            or path.parent.name == "evaluation"
        }


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _lasting(item)
            for key, item in value.items()
            if not any(word in key for word in MEASURED)
        }
    if isinstance(value, str):
        return re.sub(r"\d[\d.,]* (ms|s|min|h)\b", "some time", value)  # in a recommendation
    return [_lasting(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandServer]:
    """A command server above the library."""
    compiler = shutil.which("cc") or pytest.skip("there is no C compiler")
    library = tmp_path_factory.mktemp("library") / "full_disk.so"
    made = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    if subprocess.run(made, capture_output=True, check=False).returncode:
        pytest.skip("the library is for Linux")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(library))
        started = CommandServer()
    yield started
    started.close()


class Case(NamedTuple):
    """A command on a disk, and what is there before."""

    disk: Disk
    before: Path
    arguments: list[str]


@pytest.fixture(scope="module")
def prepared(
    server: CommandServer,
    tiny_llama: Path,
    quick_settings: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Case]:
    """Makes the case of a command."""
    disk = Disk(server, tmp_path_factory.mktemp("full"))
    settings = {
        **quick_settings,
        "model.id": str(tiny_llama),
        "model.dtype": "float32",
        "adapt.rungs": ["zero-shot", "lora"],
        "output": str(disk.folder),
    }
    given = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    states: dict[str, Path] = {}

    def state(name: str, *commands: list[str]) -> Path:
        """The disk after some commands, kept beside it."""
        if name not in states:
            shutil.rmtree(disk.folder)
            disk.folder.mkdir()
            for command in commands:
                outcome = disk.run(command)
                assert outcome.code == 0, outcome.said
            states[name] = Path(shutil.copytree(disk.folder, disk.folder.with_name(name)))
        return states[name]

    def make(command: str) -> Case:
        adapt = ["adapt", *given, "name=ladder"]
        ladder, lora = str(disk.folder / "ladder"), str(disk.folder / "ladder/rungs/lora")
        page = str(disk.folder / "compared.html")
        asked = {
            "adapt": adapt,
            "tune": ["tune", *given, "name=full", "method=full"],
            "evaluate": ["evaluate", *given, "name=measured"],
            "evaluate-run": ["evaluate", lora],
            "merge": ["merge", lora],
            "report": ["report", ladder],
            "compare": ["compare", f"{ladder}/rungs/zero-shot", lora, "--html", page],
        }[command]
        is_alone = command in ("adapt", "tune", "evaluate")
        before = state("empty") if is_alone else state("adapted", adapt)
        return Case(disk, before, asked)

    return make


def assert_survives(case: Case, after: int, error: int, expected: dict[str, Any]) -> bool:
    """Let the disk run full; whether the command noticed."""
    disk = case.disk
    disk.holds(case.before)
    full = disk.run(case.arguments, after, error)
    assert full.code in (0, ResourceError.exit_code), (after, full.said)
    assert "Traceback" not in full.said, (after, full.said)
    if full.code:
        assert "is full: " in full.said or "quota" in full.said or "written" in full.said, full.said
        if error in (errno.ENOSPC, errno.EDQUOT):
            assert "bytes are needed, " in full.said, (after, full.said)
            assert "bytes are free" in full.said, (after, full.said)
    disk.assert_whole()
    again = disk.run(case.arguments)
    assert again.code == 0, (after, again.said)
    disk.assert_whole()
    assert disk.results() == expected, after
    return full.code != 0


COMMANDS = ("adapt", "tune", "evaluate", "evaluate-run", "merge", "report", "compare")
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def undisturbed(case: Case) -> tuple[int, dict[str, Any]]:
    """How many writes the command makes, and what comes out."""
    case.disk.holds(case.before)
    outcome = case.disk.run(case.arguments)
    assert outcome.code == 0, outcome.said
    return outcome.operations, case.disk.results()


@pytest.mark.parametrize("command", ["tune", "evaluate"])
def test_a_disk_full_at_some_writes(command: str, prepared: Callable[[str], Case]) -> None:
    case = prepared(command)
    operations, expected = undisturbed(case)
    assert operations > FEW
    tried = sorted({0, *range(1, operations, -(-operations // (FEW - 1)))})
    noticed = [
        assert_survives(case, after, ERRORS[number % len(ERRORS)], expected)
        for number, after in enumerate(tried)
    ]
    assert all(noticed[:-1])


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_full_at_every_write(command: str, prepared: Callable[[str], Case]) -> None:
    case = prepared(command)
    operations, expected = undisturbed(case)
    noticed = [
        assert_survives(case, after, ERRORS[after % len(ERRORS)], expected)
        for after in range(operations)
    ]
    assert noticed.count(True) >= 0.9 * operations
