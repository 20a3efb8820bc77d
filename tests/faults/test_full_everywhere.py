"""Whichever write of a command finds the disk full, it says so, harms nothing, and can go on."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Loopback
from tests.faults.full_disk import Disk, Outcome, Point, sample, server_above
from tests.hub import Hub
from tests.tiny_gguf import write_gguf

from luthier.core.errors import ResourceError

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
TASK = """\
name: odd
kind: choices
files: {splits: {test: numbers.jsonl}}
prompt: "Is {{ number }} even or odd? It is"
label: "{{ parity }}"
choices: {0: even, 1: odd}
metrics: [acc]
submission: {file: odd.tsv, format: glue}
"""
# What may fail without an end: the curves of a tracker, the name in a lock.
OPTIONAL = ("events.out.tfevents", ".lock", "tensorboard")


@dataclass(frozen=True)
class World:
    """A disk, and what commands read from outside of it."""

    disk: Disk
    inputs: Path
    settings: tuple[str, ...]

    @property
    def ladder(self) -> str:
        return str(self.disk.folder / "ladder")

    @property
    def lora(self) -> str:
        return f"{self.ladder}/rungs/lora"

    @property
    def tuned(self) -> str:
        return str(self.disk.folder / "full")

    def of(self, name: str) -> str:
        """The path of an input."""
        return str(self.inputs / name)

    def on(self, name: str) -> str:
        """A path on the disk."""
        return str(self.disk.folder / name)


Arguments = Callable[[World], list[str]]


def _tune(world: World) -> list[str]:
    return ["tune", *world.settings, "name=full", "method=full"]


def _adapt(world: World) -> list[str]:
    return ["adapt", *world.settings, "name=ladder"]


def _extend(world: World) -> list[str]:
    """What is noted already is gone on with."""
    noted = Path(world.tuned, "extensions.jsonl").exists()
    return ["resume", world.tuned] if noted else ["extend", world.tuned, "--epochs", "1"]


def _measured_task(world: World) -> list[str]:
    return ["evaluate", world.of("model"), "--tasks", world.of("odd.yaml"), "name=asked",
            f"output={world.disk.folder}", "model.dtype=float32"]  # fmt: skip


def _submission(world: World) -> list[str]:
    return ["submit", world.of("model"), "--tasks", world.of("odd.yaml"), "--folder",
            world.on("predictions"), f"output={world.disk.folder}",
            "model.dtype=float32"]  # fmt: skip


def _launch(world: World) -> list[str]:
    return ["launch", *world.settings, "name=full", "method=full", "--install", "luthier==1.0",
            "--folder", world.on("cluster")]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A command.

    Attributes:
        arguments: of the command, which is given again when there is room.
        before: the command whose outcome is on the disk; empty: nothing.
        interrupted: of that command only the first part was done.
        alike: a command that writes some of the same files in the same way, and is tried as well.
        environment: additions to the environment.
    """

    arguments: Arguments
    before: str = ""
    interrupted: bool = False
    alike: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


CASES = {
    "tune": Case(_tune),
    "evaluate": Case(lambda w: ["evaluate", *w.settings, "name=measured"]),
    "adapt": Case(_adapt, alike="tune"),
    "resume": Case(lambda w: ["resume", w.tuned], "tune", interrupted=True, alike="tune"),
    "extend": Case(_extend, "tune", alike="tune"),
    "evaluate-run": Case(lambda w: ["evaluate", w.lora], "adapt"),
    "evaluate-tasks": Case(_measured_task, alike="evaluate"),
    "submission": Case(_submission),
    "forgetting": Case(
        lambda w: ["forgetting", w.lora, "--before", f"{w.ladder}/rungs/zero-shot"],
        "adapt",
    ),
    "judge": Case(
        lambda w: ["judge", w.lora, "--model", w.of("model"), "model.dtype=float32"], "adapt"
    ),
    "predict": Case(
        lambda w: ["predict", w.lora, w.of("new.jsonl"), "-o", w.on("answers/out.csv")], "adapt"
    ),
    "merge": Case(lambda w: ["merge", w.lora], "adapt"),
    "merge-elsewhere": Case(lambda w: ["merge", w.lora, "--output", w.on("own/whole")], "adapt"),
    "report": Case(lambda w: ["report", w.ladder], "adapt"),
    "compare": Case(
        lambda w: ["compare", f"{w.ladder}/rungs/zero-shot", w.lora, "--html", w.on("page.html")],
        "adapt",
    ),
    "plan-svg": Case(lambda w: ["plan", w.of("model"), "--svg", w.on("bars/plan.svg")]),
    "launch": Case(_launch),
    "pull-gguf": Case(
        lambda w: ["models", "pull", w.of("tiny.gguf")], environment={"LUTHIER_CACHE": "cache"}
    ),
    "pull": Case(lambda w: ["models", "pull", "owner/model"]),
}


@pytest.fixture(scope="module")
def hub(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Hub with one model."""
    with Loopback() as server:
        Hub(server, tmp_path_factory.mktemp("hub")).add("owner/model", tiny_llama)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.url.removesuffix("/v1")
        server.shutdown()


@pytest.fixture(scope="module")
def disk(hub: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    folder = tmp_path_factory.mktemp("full") / "disk"
    environment = {
        "HF_ENDPOINT": hub,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_HUB_DISABLE_XET": "1",
    }
    server = server_above(folder.parent, environment)
    yield Disk(server, folder)
    server.close()


@pytest.fixture(scope="module")
def world(
    disk: Disk,
    tiny_llama: Path,
    quick_settings: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> World:
    inputs = tmp_path_factory.mktemp("inputs")
    shutil.copytree(tiny_llama, inputs / "model")
    write_gguf(tiny_llama, inputs / "tiny.gguf")
    rows = [{"number": number, "parity": number % 2} for number in range(20)]
    (inputs / "numbers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    new = ({"prompt": f"Is the number {number} even or odd?"} for number in range(20))
    (inputs / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in new))
    (inputs / "odd.yaml").write_text(TASK)
    settings = {
        **quick_settings,
        "model.id": str(inputs / "model"),
        "train.epochs": 2,
        "adapt.rungs": ["zero-shot", "lora"],
        "output": str(disk.folder),
    }
    given = tuple(f"{key}={json.dumps(value)}" for key, value in settings.items())
    return World(disk, inputs, given)


@dataclass
class Trial:
    """A command, the state before it, and what comes out where nothing disturbs it."""

    world: World
    case: Case
    before: Path
    points: tuple[Point, ...] = ()
    expected: dict[str, Any] = field(default_factory=dict)

    def run(self, after: int | None = None, error: int = 0) -> Outcome:
        disk = self.world.disk
        environment = {key: str(disk.folder / v) for key, v in self.case.environment.items()}
        return disk.run(self.case.arguments(self.world), after, error, environment)

    def undisturbed(self) -> None:
        """Find out where it writes, and what comes out."""
        self.world.disk.holds(self.before)
        outcome = self.run()
        assert outcome.code == 0, outcome.said
        self.points, self.expected = tuple(outcome.points), self.world.disk.results()

    def fails_at(self, after: int, error: int) -> bool:
        """Let the disk run full; whether the command noticed."""
        disk, at = self.world.disk, (after, self.points[after])
        disk.holds(self.before)
        full = self.run(after, error)
        assert full.code in (0, ResourceError.exit_code), (at, full.said)
        assert "Traceback" not in full.said, (at, full.said)
        if full.code:
            _assert_explained(full.said, error)
        disk.assert_intact(self.before)
        again = self.run()
        assert again.code == 0, (at, again.said)
        disk.assert_intact(self.before)
        assert disk.results() == self.expected, at
        return full.code != 0


def _assert_explained(said: str, error: int) -> None:
    flat = " ".join(said.split())
    if error == errno.EROFS:
        assert "cannot write: Read-only file system" in flat, said
    else:
        assert "is full: " in flat or "disk quota is used up: " in flat, said
        assert " bytes are needed, " in flat, said
        assert " bytes are free" in flat, said


@pytest.fixture(scope="module")
def trial_of(world: World) -> Callable[[str], Trial]:
    """Makes the trial of a command; the states before are kept beside the disk."""
    disk = world.disk

    @cache
    def state(name: str, interrupted: bool) -> Path:
        kept = disk.folder.with_name(f"{name or 'nothing'}-{interrupted}")
        if not name:
            kept.mkdir()
            return kept
        trial = make(name)
        disk.holds(trial.before)
        outcome = trial.run(len(trial.points) * 2 // 3 if interrupted else None, errno.ENOSPC)
        assert outcome.code == (ResourceError.exit_code if interrupted else 0), outcome.said
        return Path(shutil.copytree(disk.folder, kept, symlinks=True))

    @cache
    def make(name: str) -> Trial:
        case = CASES[name]
        trial = Trial(world, case, state(case.before, case.interrupted))
        trial.undisturbed()
        return trial

    return make


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", ["evaluate", "plan-svg", "predict"])
def test_a_disk_full_at_the_first_and_the_last_write(
    name: str, trial_of: Callable[[str], Trial]
) -> None:
    trial = trial_of(name)
    assert trial.fails_at(0, errno.ENOSPC)
    trial.fails_at(len(trial.points) // 2, errno.EROFS)
    trial.fails_at(len(trial.points) - 1, errno.EDQUOT)


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_a_disk_full_at_every_kind_of_file(name: str, trial_of: Callable[[str], Trial]) -> None:
    trial = trial_of(name)
    alike = trial.case.alike
    known = {point.file for point in trial_of(alike).points} if alike else set()
    problems = []
    for turn, number in enumerate(sample(trial.points, known)):
        try:
            noticed = trial.fails_at(number, ERRORS[turn % len(ERRORS)])
            assert noticed or all(map(_is_optional, trial.points[number:])), "it is not noticed"
        except AssertionError as error:
            problems.append((number, trial.points[number], str(error)))
    assert not problems


def _is_optional(point: Point) -> bool:
    # A converted model that is whole is used, whether or not its name is flushed.
    is_cache = point.operation == "fsync" and point.path.name == "models"
    return is_cache or point.path.name.startswith(OPTIONAL)
