"""The lock of a run directory: one writer at a time; readers need no lock.

It is the operating system's lock on the file ``.lock`` (POSIX record locks, which network file
systems support). The system releases it when the process ends, so nothing needs cleaning up. The
file names its holder for error messages.

On file systems without locks, or with locks local to each machine, the file's content decides. A
holder on this machine is looked up by process id and start time. A holder on another machine is
watched for a heartbeat, a counter that it increments every ten seconds. Clocks are never compared.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from luthier.core.console import Console
from luthier.core.disk import storing
from luthier.core.errors import DataError, ResourceError
from luthier.core.folders import remove_unfinished_folders
from luthier.records.run_directory import RunDirectory

if sys.platform != "win32":
    import fcntl

_BEAT = 10.0  # seconds
_WATCHED = 2.5  # beats
_LOOKS, _BETWEEN_LOOKS = 40, 0.05  # seconds
_MOST = 4096  # bytes read from the file
_held: dict[Path, int] = {}


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that writes in a run.

    Attributes:
        host: the name of its machine.
        pid: its process id.
        start: its start time as reported by the system; empty if unknown.
        command: its command line.
        since: when it took the lock, for display.
        beat: the heartbeat counter.
        token: a random id of this lock.
    """

    host: str
    pid: int
    start: str
    command: str
    since: str
    beat: int
    token: str

    def is_here(self) -> bool:
        """Whether it is a running process of this machine."""
        return self.host == socket.gethostname() and self.start == _start_of(self.pid)


@contextmanager
def writing(run: RunDirectory, console: Console | None = None) -> Iterator[None]:
    """Hold the lock of a run, or of the adapt run that it belongs to.

    A process that already holds the lock may take it again.

    Raises:
        ResourceError: another process writes here, or the lock file is not writable.
        DataError: the lock is not a regular file.
    """
    path = run.lock.absolute()
    if path in _held:
        yield
        return
    handle = _opened(path)
    try:
        _take(handle, path, console or Console())
        remove_unfinished_folders(path.parent)
        _held[path] = handle
        try:
            with _beating(handle, _this_process()):
                yield
        finally:
            del _held[path]
    finally:
        os.close(handle)  # releases the lock


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with storing(path):
        handle = os.open(path, flags, 0o666)
    if os.fstat(handle).st_nlink != 1:
        os.close(handle)
        fix = "delete the other hard link, or this file if no command is running in this run"
        raise DataError("this lock file has a second hard link", where=str(path), fix=fix)
    return handle


def _take(handle: int, path: Path, console: Console) -> None:
    """Take the lock, or raise an error that names its holder."""
    taken = _lock(handle)
    holder = _read(handle)
    if taken is False:
        raise _in_use(path, _named(handle))
    if holder is None or holder.pid == os.getpid():
        return
    if holder.host == socket.gethostname():
        # This process has the system's lock, so the recorded holder has ended.
        if taken is None and holder.is_here():
            raise _in_use(path, holder)
        return
    console.say(f"a process on {holder.host} may still write in this run; checking its heartbeat …")
    time.sleep(_BEAT * _WATCHED)
    now = _read(handle)
    if now is not None and now.beat != holder.beat:
        raise _in_use(path, now)


def _named(handle: int) -> Holder | None:
    """The holder of the lock; a new one gets a moment to write its name."""
    for _ in range(_LOOKS):
        holder = _read(handle)
        if holder is not None and (holder.host != socket.gethostname() or holder.is_here()):
            return holder
        time.sleep(_BETWEEN_LOOKS)
    return None


def _lock(handle: int) -> bool | None:
    """Take the system's lock. False: it is held elsewhere; None: locks are unavailable."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


@contextmanager
def _beating(handle: int, holder: Holder) -> Iterator[None]:
    """Keep the holder's heartbeat going, and clear the file at the end."""
    done = threading.Event()

    def beat() -> None:
        number = 0
        while not done.wait(_BEAT):
            number += 1
            with suppress(OSError):
                _write(handle, replace(holder, beat=number))

    with suppress(OSError):  # on a full disk the system's lock still works
        _write(handle, holder)
    thread = threading.Thread(target=beat, name="run lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with suppress(OSError):
            os.ftruncate(handle, 0)


def _read(handle: int) -> Holder | None:
    try:
        value = json.loads(os.pread(handle, _MOST, 0))
        holder = Holder(**value)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    texts = (holder.host, holder.start, holder.command, holder.since, holder.token)
    numbers = (holder.pid, holder.beat)
    is_sound = all(isinstance(text, str) for text in texts)
    return holder if is_sound and all(isinstance(number, int) for number in numbers) else None


def _write(handle: int, holder: Holder) -> None:
    content = json.dumps(asdict(holder)).encode()
    os.pwrite(handle, content.ljust(512), 0)


def _this_process() -> Holder:
    return Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        start=_start_of(os.getpid()),
        command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])[:100],
        since=time.strftime("%Y-%m-%d %H:%M"),
        beat=0,
        token=secrets.token_hex(8),
    )


def _start_of(pid: int) -> str:
    """The start time of a local process in system ticks; empty if there is none.

    Process ids are reused; the start time tells two processes apart.
    """
    try:
        # The program's name, in parentheses, may contain spaces.
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "" if sys.platform.startswith("linux") else _running(pid)


def _running(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "running"


def _in_use(path: Path, holder: Holder | None) -> ResourceError:
    who = "another process"
    if holder is not None:
        who = f"process {holder.pid} on {holder.host} ({holder.command}, since {holder.since})"
    return ResourceError(
        f"{who} is writing in this run",
        where=str(path.parent),
        fix="wait until it ends, or choose another run name with --name",
    )
