"""A prediction that is killed goes on: its file is complete, without doubles, and the same."""

from __future__ import annotations

import csv
import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.command_server import CommandServer
from tests.faults.conftest import Run

import luthier
from luthier.core.console import Console

ROWS = 5_000
BAD = {17, 2_500, 4_999}
TASK = """\
prompt: "Is {{ number }} even or odd? It is"
label: "{{ parity }}"
choices: {even: even, odd: odd}
metrics: [accuracy]
"""


class Prediction(Run):
    """One prediction, and what it leaves."""

    def __init__(self, server: CommandServer, run: Path, rows: Path, folder: Path) -> None:
        folder.mkdir()
        super().__init__(server, "predict", folder, {})
        self.folder = folder
        self.command = ["predict", str(run), str(rows), "-o", str(folder / "out.csv")]

    def answers(self) -> int:
        """The size of what is kept."""
        return sum(path.stat().st_size for path in self.folder.rglob("*.answers.jsonl"))

    def files(self) -> dict[str, bytes]:
        """All files, by name."""
        return {path.name: path.read_bytes() for path in self.folder.rglob("*")}


@pytest.fixture(scope="module")
def inputs(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An evaluated model, and numbers to ask about, some of them missing."""
    folder = tmp_path_factory.mktemp("numbers")
    (folder / "parity.yaml").write_text(TASK, encoding="utf-8")
    known = [{"number": n, "parity": ("even", "odd")[n % 2]} for n in range(30)]
    text = "".join(json.dumps(row) + "\n" for row in known)
    (folder / "known.jsonl").write_text(text, encoding="utf-8")
    with (folder / "new.csv").open("w", newline="") as file:
        rows = [(n, "" if n in BAD else n) for n in range(ROWS)]
        csv.writer(file).writerows([("id", "number"), *rows])
    settings = {
        "data.source": str(folder / "known.jsonl"),
        "prompt.template": str(folder / "parity.yaml"),
        "model.dtype": "float32",
        "evaluate.resamples": 100,
        "output": str(folder / "runs"),
    }
    run = luthier.evaluate(str(tiny_llama), None, settings, Console(quiet=True)).run
    return run.path, folder / "new.csv"


@pytest.fixture(scope="module")
def reference(
    command_server: CommandServer, inputs: tuple[Path, Path], tmp_path_factory: Any
) -> tuple[dict[str, bytes], float]:
    """What nobody disturbs gives, and how many seconds it takes."""
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    undisturbed = Prediction(command_server, *inputs, folder)
    started = time.monotonic()
    assert undisturbed.finish() == 3, undisturbed.log  # some rows are bad
    return undisturbed.files(), time.monotonic() - started


def test_the_file_is_complete(reference: tuple[dict[str, bytes], float]) -> None:
    files, _ = reference
    assert files.keys() == {"out.csv", "out.rejected.jsonl"}
    found = list(csv.DictReader(files["out.csv"].decode().splitlines()))
    assert [int(row["id"]) for row in found] == [n for n in range(ROWS) if n not in BAD]
    rejected = [json.loads(line) for line in files["out.rejected.jsonl"].splitlines()]
    assert [int(row["values"]["id"]) for row in rejected] == sorted(BAD)


def test_killed_twice_and_gone_on_with(
    command_server: CommandServer, inputs: tuple[Path, Path], reference: Any, tmp_path: Path
) -> None:
    expected, _ = reference
    broken = Prediction(command_server, *inputs, tmp_path / "out")
    for _ in range(2):
        kept = broken.answers()
        code = broken.stop(lambda kept=kept: broken.answers() > kept + 50_000, signal.SIGKILL)
        assert code == -signal.SIGKILL
        assert not (tmp_path / "out" / "out.csv").exists()
    assert broken.answers() > 100_000
    assert broken.finish() == 3, broken.log
    assert broken.files() == expected
    assert broken.finish() == 3, broken.log  # the same command once more
    assert broken.files() == expected


def test_a_signal_ends_it_with_a_word(
    command_server: CommandServer, inputs: tuple[Path, Path], reference: Any, tmp_path: Path
) -> None:
    expected, _ = reference
    broken = Prediction(command_server, *inputs, tmp_path / "out")
    assert broken.stop(lambda: broken.answers() > 0, signal.SIGTERM) == 75
    assert "run the same command again to continue" in broken.log
    assert broken.finish() == 3, broken.log
    assert broken.files() == expected


@pytest.mark.long
@pytest.mark.parametrize("number", range(20))
def test_killed_at_random_times(
    command_server: CommandServer,
    inputs: tuple[Path, Path],
    reference: Any,
    tmp_path: Path,
    number: int,
) -> None:
    expected, lasts = reference
    draw = random.Random(number)
    broken = Prediction(command_server, *inputs, tmp_path / "out")
    for _ in range(3):
        broken.kill_after(draw.uniform(0, lasts))
    assert broken.finish() == 3, broken.log
    assert broken.files() == expected
