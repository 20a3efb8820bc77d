"""Launching the processes of a training on this machine, and ending them together."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.distributed.environment import environment_number

# Grace periods after one process has failed: to end by themselves, and then to be terminated.
_GRACE, _END = 20.0, 5.0
_POLL = 0.1
_SHOWN_LINES = 20
_PR_SET_PDEATHSIG = 1


def is_launched() -> bool:
    """Whether this process was launched as one of several, by Luthier or by torchrun."""
    return "RANK" in os.environ


def speaks_for_all() -> bool:
    """Whether this process is the only or the first one."""
    return os.environ.get("RANK", "0") == "0"


def end_with_parent() -> None:
    """End this process when its parent ends, in whatever way (Linux only)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def leave(code: int) -> NoReturn:
    """Exit immediately after flushing output.

    Threads of a process group may outlive it, and a regular exit below them sometimes aborts after
    all work is done and saved.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_together(arguments: Sequence[str], count: int) -> int:
    """Run this program in ``count`` processes that train together, and wait for all of them.

    The first one's output is shown; of the others only the last output before a failure. Signals
    are forwarded to all. If one fails, the others end within half a minute. On several machines
    each runs this with ``NNODES``, its own ``NODE_RANK``, and the first one's ``MASTER_ADDR`` and
    ``MASTER_PORT``.

    Args:
        arguments: of the program.
        count: how many processes.

    Returns:
        Zero, or the exit code of the first that failed (128 and the number of a signal).
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _processes(arguments, count, folder) as processes:
            failed = _wait(processes)
            _end(processes, _GRACE if failed is not None else 0.0)
        if failed is None:
            return 0
        code = processes[failed].returncode
        said = folder / str(_first_rank(count) + failed)
        # An error found by all of them was already printed by the first.
        is_told = _first_rank(count) == 0 and processes[0].returncode == code
        if said.is_file() and not is_told:
            _show(said, code)
        return code if code > 0 else 128 - code


@contextmanager
def _processes(
    arguments: Sequence[str], count: int, folder: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    common = {**os.environ, **_meeting_place(count)}
    # Each process gets its share of the cores, because oversubscription would slow them down.
    common.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for local in range(count):
            own = {"RANK": str(_first_rank(count) + local), "LOCAL_RANK": str(local)}
            processes.append(_start(arguments, common | own, folder))
        with _passing_signals_on(processes):
            yield processes
    finally:
        _end(processes, 0.0)


def _meeting_place(count: int) -> dict[str, str]:
    """Environment variables with the number of processes and the rendezvous address.

    Raises:
        UsageError: there are several machines, but no rendezvous address.
    """
    sizes = {"WORLD_SIZE": str(count * _machines()), "LOCAL_WORLD_SIZE": str(count)}
    if _machines() == 1:
        return sizes | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        if name not in os.environ:
            raise UsageError(
                f"NNODES requests several machines, but {name} is not set",
                fix="set NODE_RANK to the machine's number, and MASTER_ADDR and MASTER_PORT to an "
                "address of the first one",
            )
    return sizes


def _machines() -> int:
    return environment_number("NNODES", 1)


def _first_rank(count: int) -> int:
    """The rank of this machine's first process, with ``count`` processes per machine."""
    return environment_number("NODE_RANK", 0) * count if _machines() > 1 else 0


def _start(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    """Start a process in its own session, so that Ctrl-C does not reach it twice."""
    output: IO[Any] | None = None
    if environment["RANK"] != "0":
        output = (folder / environment["RANK"]).open("wb")
    try:
        return subprocess.Popen(  # noqa: S603 (this program with this program's arguments)
            [sys.executable, "-m", "luthier", *arguments],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    finally:
        if output:
            output.close()


@contextmanager
def _passing_signals_on(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    def handler(number: int, _frame: FrameType | None) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    previous = {
        number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """The rank of the first process that failed; None if all succeeded."""
    while True:
        codes = [process.poll() for process in processes]
        failed = [rank for rank, code in enumerate(codes) if code]
        if failed:
            # If several failed, a killed one is the cause and the others are consequences.
            return min(failed, key=lambda rank: (processes[rank].returncode > 0, rank))
        if all(code == 0 for code in codes):
            return None
        time.sleep(_POLL)


def _end(processes: Sequence[subprocess.Popen[bytes]], grace: float) -> None:
    """Wait for the processes, then terminate them, then kill them."""
    for patience, ask in (
        (grace, subprocess.Popen[bytes].terminate),
        (_END, subprocess.Popen[bytes].kill),
    ):
        deadline = time.monotonic() + patience
        while any(process.poll() is None for process in processes):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL)
        for process in processes:
            if process.poll() is None:
                ask(process)
    for process in processes:
        process.wait()


def _show(said: Path, code: int) -> None:
    """Show the last output of a process other than the first."""
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    console = Console()
    console.warn(f"the process of rank {said.name} ended with {how}")
    text = said.read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines()[-_SHOWN_LINES:]:
        console.say(f"  {line}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
