"""Ctrl-C while data is read, made into tokens, or searched for test examples."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROWS = 3000
MOST_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
DRIVER = """
import os, signal, sys, time
from contextlib import contextmanager
import psutil
from luthier.cli.main import main
from luthier.core.console import Console

stage, count, stamp = sys.argv[1], int(sys.argv[2]), sys.argv[3]
shown = Console.progress

@contextmanager
def progress(self, description, *given, **named):
    with shown(self, description, *given, **named) as advance:
        left = count
        def counted(amount=1, **more):
            nonlocal left
            advance(amount, **more)
            if description.startswith(stage) and left > 0:
                left -= amount
                if left <= 0:
                    running = (each.cpu_times() for each in psutil.Process().children())
                    used = sum(os.times()[:4]) + sum(each.user + each.system for each in running)
                    with open(stamp, "w") as stream:
                        stream.write(f"{time.monotonic()} {used}")
                    os.kill(os.getpid(), signal.SIGINT)
        yield counted

Console.progress = progress
main(sys.argv[4:])
"""
SLOW_TEMPLATE = (
    "{% for a in range(220) %}{% for b in range(220) %}{% set c = a * b %}{% endfor %}{% endfor %}"
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""It takes some milliseconds a text, and so seconds for a batch of them."""


class Stopped(NamedTuple):
    """How a command ended."""

    code: int
    said: str
    seconds: float
    """After the signal."""
    used: float
    """Of it, processor time."""
    left: list[str]
    """Temporary files."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "pairs.jsonl"
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    with path.open("w", encoding="utf-8") as stream:
        for number in range(ROWS):
            said = " ".join(words[number // 10**place % 10] for place in range(4))
            row = {"prompt": f"{said} " * 10, "completion": f"{said} again, " * 10}
            stream.write(f"{json.dumps(row)}\n")
    return path


def _interrupted(stage: str, count: int, arguments: list[str], folder: Path) -> Stopped:
    """A command that gets Ctrl-C when ``count`` units of a stage are done."""
    temporary, stamp, log = folder / "temporary", folder / "stamp", folder / "log"
    temporary.mkdir()
    with log.open("w", encoding="utf-8") as stream:
        running = subprocess.Popen(
            [sys.executable, "-c", DRIVER, stage, str(count), str(stamp), *arguments],
            stdout=stream,
            stderr=stream,
            env={**os.environ, "TMPDIR": str(temporary), "HF_HUB_OFFLINE": "1"},
        )
        while os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            began = float(stamp.read_text().split()[0] or 0) if _is_written(stamp) else None
            assert began is None or time.monotonic() < began + PATIENCE_SECONDS, log.read_text()
            time.sleep(0.01)
        ended = time.monotonic()
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    assert _is_written(stamp), log.read_text(encoding="utf-8")
    began, before = map(float, stamp.read_text().split())
    return Stopped(
        running.returncode,
        log.read_text(encoding="utf-8"),
        ended - began,
        used.ru_utime + used.ru_stime - before,
        sorted(path.name for path in temporary.iterdir()),
    )


def _is_written(stamp: Path) -> bool:
    return stamp.exists() and stamp.stat().st_size > 0


def _require_ordinary_end(stopped: Stopped) -> None:
    """The message and the exit code of Ctrl-C, soon, and nothing left."""
    assert stopped.code == 128 + signal.SIGINT, stopped.said
    last = stopped.said.splitlines()[-1]
    assert last == "interrupted; run the same command again to continue", stopped.said
    assert "Traceback" not in stopped.said
    assert stopped.used < MOST_SECONDS, stopped  # other programs have no share in this one
    assert not stopped.left


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("stage", "count"),
    [("reading", 1000), ("splitting", 1000), ("looking for special", 500), ("tokenising", 300)],
)
def test_ctrl_c_ends_every_stage_of_data_show(
    tmp_path: Path, rows: Path, tiny_llama: Path, stage: str, count: int
) -> None:
    command = ["data", "show", f"data.source={rows}", f"model.id={tiny_llama}"]
    _require_ordinary_end(_interrupted(stage, count, command, tmp_path))


@pytest.mark.long
def test_ctrl_c_ends_a_batch_of_slow_templates(
    tmp_path: Path, rows: Path, tiny_llama: Path
) -> None:
    template = tmp_path / "slow.jinja"
    template.write_text(SLOW_TEMPLATE, encoding="utf-8")
    command = ["data", "show", f"data.source={rows}", f"model.id={tiny_llama}"]
    command.append(f"prompt.chat_template={template}")
    _require_ordinary_end(_interrupted("tokenising", 1, command, tmp_path))


@pytest.mark.long
def test_ctrl_c_ends_the_search_for_test_examples(
    tmp_path: Path, rows: Path, tiny_llama: Path, quick_settings: dict[str, Any]
) -> None:
    output = tmp_path / "runs"
    chosen = {
        **quick_settings,
        "data.source": str(rows),
        "model.id": str(tiny_llama),
        "evaluate.general_text": None,
        "output": str(output),
    }
    command = ["adapt", *(f"{name}={json.dumps(value)}" for name, value in chosen.items())]
    _require_ordinary_end(_interrupted("looking for test", 1, command, tmp_path))
    unfinished = [path.name for path in output.rglob("*") if path.name.endswith(".partial")]
    assert not unfinished
