"""Starts commands in forks of a process that has imported everything: a fresh process at once.

As a program it reads requests from standard input, each a line with a JSON list of commands that
run together. The answers are a line with the list of their process ids and, when all have ended,
one with that of their exit codes (negative: the signal).
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Command:
    """Arguments of ``luthier``, the file for its output, and additions to the environment."""

    arguments: Sequence[str]
    log: str
    environment: Mapping[str, str] = field(default_factory=dict)


class CommandServer:
    """The program, from the outside."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._running: list[int] = []
        assert self._answer() == "ready"

    def start(self, *commands: Command) -> list[int]:
        """Start them together; their process ids. What a failed test left running is killed."""
        assert self._process.stdin is not None
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._running:
            self.wait()
        request = [dataclasses.asdict(command) for command in commands]
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        self._running = self._answer()
        return self._running

    def wait(self) -> list[int]:
        """The exit codes of what was started last."""
        codes: list[int] = self._answer()
        self._running = []
        return codes

    def close(self) -> None:
        """End, with all that was started."""
        self._process.terminate()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_SECONDS)
        assert ready, "a command does not end"
        return json.loads(self._process.stdout.readline())


def _prepare() -> None:
    """Import what the commands need. No thread may be started: a fork would not have it."""
    import peft  # noqa: F401
    import torch
    from transformers.models.auto.tokenization_auto import AutoTokenizer  # noqa: F401
    from transformers.models.llama import modeling_llama  # noqa: F401

    import luthier.context.base_model
    import luthier.context.manifest
    import luthier.distributed.sharded
    import luthier.preflight.dry_run
    import luthier.reports
    import luthier.workflows.measure
    import luthier.workflows.tune  # noqa: F401

    torch.set_num_threads(1)
    gc.freeze()  # forks look for garbage in their own objects alone


def _run(command: Command) -> None:
    """Become the command."""
    from luthier.cli.main import main
    from luthier.distributed.launch import end_with_parent

    end_with_parent()
    os.environ.update(command.environment)
    with Path(command.log).open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        main(command.arguments)
    except SystemExit as ended:
        sys.stderr.flush()
        os._exit(int(ended.code or 0))
    except BaseException:  # noqa: BLE001 (the process ends here)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(99)


def _fork(command: Command) -> int:
    child = os.fork()
    if not child:
        _run(command)
    return child


def _serve() -> None:
    """Answer until standard input ends."""
    from luthier.distributed.launch import end_with_parent

    end_with_parent()
    _prepare()
    print('"ready"', flush=True)
    for line in sys.stdin:
        children = [_fork(Command(**request)) for request in json.loads(line)]
        print(json.dumps(children), flush=True)
        ended = [os.waitpid(child, 0)[1] for child in children]
        print(json.dumps([os.waitstatus_to_exitcode(status) for status in ended]), flush=True)


if __name__ == "__main__":
    _serve()
