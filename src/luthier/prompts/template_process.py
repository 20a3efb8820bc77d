"""A client of the process that renders chat templates (`luthier.prompts.template_worker`).

A single process is started on first use. The operating system ends it at its limits, and the next
template gets a new one.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from luthier.prompts import template_worker as worker

MAX_SOURCE_CHARACTERS = 2**18
_BUFFER = 2**16
_ENVIRONMENT = ("PATH", "HOME", "SYSTEMROOT", "VIRTUAL_ENV", "LANG", "LD_LIBRARY_PATH")
"""The environment variables that the process needs to start; it gets no keys or other secrets."""


class TemplateRaised(Exception):  # noqa: N818 - it is no defect: templates refuse conversations so
    """A template ended with an exception."""


class TemplateSyntax(Exception):  # noqa: N818
    """A source is not valid Jinja.

    Args:
        message: the reason.
        line: the line of the error.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class TemplateLimit(Exception):  # noqa: N818
    """A template exceeded its limit of time, memory or text; the message is a predicate."""


def render(source: str, values: Mapping[str, Any]) -> str:
    """The rendered text of a template.

    Args:
        source: the template, in Jinja, for the environment of transformers.
        values: its variables, as JSON values.

    Raises:
        TemplateRaised: the template raised an exception.
        TemplateSyntax: the template is not valid.
        TemplateLimit: the template exceeds a limit.
    """
    if len(source) > MAX_SOURCE_CHARACTERS:
        raise TemplateLimit(f"has more than {MAX_SOURCE_CHARACTERS:,} characters")
    return _PROCESS.render(source, values) if source else ""


def render_many(source: str, many: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """The rendered texts of a template; None for values with which `render` raises an exception.

    This is much faster than single calls. If the process ends, all texts are None, because only
    `render` can tell which values ended it.

    Args:
        source: see `render`.
        many: the values of each text; see `render`.
    """
    if not source or len(source) > MAX_SOURCE_CHARACTERS:
        return [None] * len(many)
    return _PROCESS.render_many(source, many)


def stop() -> None:
    """Stop the rendering of another thread."""
    _PROCESS.stop()


class _Process:
    """The rendering process, which handles one request at a time."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        """Reset to no process; after a fork, the process belongs to the parent."""
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._source = ""
        self._refused: dict[str, str] = {}

    def render(self, source: str, values: Mapping[str, Any]) -> str:
        """See `render`."""
        with self._lock:
            if why := self._refused.get(source):
                raise TemplateLimit(why)
            try:
                ((kind, text),) = self._asked(source, [_as_json(values)])
            except _Ended as error:
                kind, text = worker.TOO_LARGE, str(error)
            if kind == worker.TOO_LARGE:
                self._refused[source] = text
        if kind == worker.TEXT:
            return text
        if kind == worker.SYNTAX:
            line, _, message = text.partition(":")
            raise TemplateSyntax(message, int(line))
        raise (TemplateLimit if kind == worker.TOO_LARGE else TemplateRaised)(text)

    def render_many(self, source: str, many: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """See `render_many`."""
        with self._lock:
            if source not in self._refused:
                with suppress(_Ended, TemplateRaised):
                    replies = self._asked(source, list(map(_as_json, many)))
                    return [text if kind == worker.TEXT else None for kind, text in replies]
        return [None] * len(many)

    def _asked(self, source: str, contents: Sequence[bytes]) -> list[tuple[int, str]]:
        """The kind and the text of each reply."""
        running = self._running or self._start()
        new = source.encode("utf-8", "surrogatepass") if source != self._source else b""
        try:
            assert running.stdin is not None  # noqa: S101
            head = worker.LENGTHS.pack(len(new), len(contents))
            sizes = (worker.LENGTH.pack(len(content)) for content in contents)
            running.stdin.write(b"".join((head, *sizes, new, *contents)))
            running.stdin.flush()
            replies = [_reply(running, len(content)) for content in contents]
        except BaseException as error:
            self.close()  # a partial request or reply may be in the pipes
            if isinstance(error, BrokenPipeError):
                raise _Ended(_ending(running)) from None
            raise
        self._source = source
        return replies

    def _start(self) -> subprocess.Popen[bytes]:
        given = {
            name: value
            for name, value in os.environ.items()
            if name in _ENVIRONMENT or name.startswith("PYTHON")
        }
        self._source = ""
        self._running = subprocess.Popen(  # noqa: S603 - Luthier's own script
            [sys.executable, "-P", str(Path(worker.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=given,
            bufsize=_BUFFER,
            start_new_session=True,  # Ctrl-C must not reach it
        )
        return self._running

    def stop(self) -> None:
        """Kill the process without the lock, which a waiting thread holds."""
        if (running := self._running) is not None:
            running.kill()

    def close(self) -> None:
        """End the process, if there is one."""
        running, self._running = self._running, None
        if running is None:
            return
        running.kill()
        for pipe in (running.stdin, running.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        running.wait()


class _Ended(Exception):  # noqa: N818
    """The process ended before it answered."""


def _reply(running: subprocess.Popen[bytes], sent: int) -> tuple[int, str]:
    """The kind and the text of the next reply, to a conversation of ``sent`` bytes."""
    assert running.stdout is not None  # noqa: S101
    head = running.stdout.read(worker.LENGTH.size)
    reply = running.stdout.read(_length(head, sent))
    if not reply:
        raise _Ended(_ending(running))
    return reply[0], reply[1:].decode("utf-8", "surrogatepass")


def _length(head: bytes, sent: int) -> int:
    """The length of a reply, bounded because an untrusted program may have written it."""
    if len(head) < worker.LENGTH.size:
        return 0
    length: int = worker.LENGTH.unpack(head)[0]
    return min(length, 4 * (worker.MAX_CHARACTERS + 2 * sent) + 1)


def _ending(running: subprocess.Popen[bytes]) -> str:
    """The reason why a process ended, as a predicate."""
    code = running.wait()
    timers = [-getattr(signal, name, 0) for name in ("SIGPROF", "SIGALRM")]
    if code in timers and code:
        return f"takes more than {worker.MAX_SECONDS:g} s"
    return f"ends the process that renders it (exit status {code})"


def _as_json(values: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(values, default=_placeholder).encode()
    except (RecursionError, TypeError, ValueError) as error:
        raise TemplateRaised(f"its values are no JSON: {error}") from None


def _placeholder(value: Any) -> str:
    """A placeholder for a value that is not JSON, as transformers writes it."""
    return f"<{type(value).__name__}>"


_PROCESS = _Process()
atexit.register(_PROCESS.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_PROCESS._forget)
