"""One writer a run: who writes in a run directory holds its lock, and readers need none.

The lock is the operating system's own, on the file ``.lock`` of the run (POSIX record locks, which
network file systems pass on). It ends with the process, however that ends, so nothing is left to
clean up. The file says who holds it, for the message to the one who comes second.

A file system without locks, or one that keeps them to each machine, is met by what the file says.
A holder on this machine is looked for by its number and start. Of one on another machine the beat
is watched, a number that it raises every ten seconds. No clock is compared.
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
_MOST = 4096  # bytes of the file that are read
_held: dict[Path, int] = {}


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that writes in a run.

    Attributes:
        host: the name of its machine.
        pid: its number there.
        start: when it started, as the system says it; nothing where that is not known.
        command: what it was asked to do.
        since: when it took the lock, for people.
        beat: raised while it holds the lock.
        token: tells one holding from another.
    """

    host: str
    pid: int
    start: str
    command: str
    since: str
    beat: int
    token: str

    def is_here(self) -> bool:
        """Whether it is a process of this machine that still runs."""
        return self.host == socket.gethostname() and self.start == _start_of(self.pid)


@contextmanager
def writing(run: RunDirectory, console: Console | None = None) -> Iterator[None]:
    """Be the only one who writes in a run, or in the adapt run that it belongs to.

    A process that holds the lock may take it again.

    Raises:
        ResourceError: another process writes here; or the lock cannot be written.
        DataError: the lock is no regular file.
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
        os.close(handle)  # this lets the lock go


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with storing(path):
        handle = os.open(path, flags, 0o666)
    if os.fstat(handle).st_nlink != 1:
        os.close(handle)
        fix = "remove the other name, or this one where no command works in this run"
        raise DataError("this lock has a second name", where=str(path), fix=fix)
    return handle


def _take(handle: int, path: Path, console: Console) -> None:
    """Take the lock, or say who holds it."""
    taken = _lock(handle)
    holder = _read(handle)
    if taken is False:
        raise _in_use(path, _named(handle))
    if holder is None or holder.pid == os.getpid():
        return
    if holder.host == socket.gethostname():
        # With the system's lock in hand, whoever wrote this has ended.
        if taken is None and holder.is_here():
            raise _in_use(path, holder)
        return
    console.say(f"{holder.host} did not say that it has left this run; looking whether it works …")
    time.sleep(_BEAT * _WATCHED)
    now = _read(handle)
    if now is not None and now.beat != holder.beat:
        raise _in_use(path, now)


def _named(handle: int) -> Holder | None:
    """Who holds the lock; one who took it just now gets a moment to write the name."""
    for _ in range(_LOOKS):
        holder = _read(handle)
        if holder is not None and (holder.host != socket.gethostname() or holder.is_here()):
            return holder
        time.sleep(_BETWEEN_LOOKS)
    return None


def _lock(handle: int) -> bool | None:
    """Take the system's lock: whether it was free, or None where there are no locks."""
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
    """Say in the file who holds the lock, again and again, and at the end that nobody does."""
    done = threading.Event()

    def beat() -> None:
        number = 0
        while not done.wait(_BEAT):
            number += 1
            with suppress(OSError):
                _write(handle, replace(holder, beat=number))

    with suppress(OSError):  # a full disk: the system's lock holds without a name
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
    """When a process of this machine started, in the system's own count; nothing: it is not there.

    A number is given again after a while, and a start tells the two apart.
    """
    try:
        # The name of the program, in brackets, may hold spaces.
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
        f"{who} writes in this run",
        where=str(path.parent),
        fix="wait until it has ended, or give this run another name with --name",
    )
