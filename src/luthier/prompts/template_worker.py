"""Renders chat templates in a separate process with limits that the operating system enforces.

A chat template is an untrusted program in full Jinja. Jinja's sandbox protects Python but does not
limit work: a loop may never end, ``'a' * 10**10`` exhausts memory, and no check in the same process
can stop the computation of ``10**10**8``. So this process has a memory limit, and a timer of
processor time that ends it starts before each template. The process cannot open files or
connections, and gets no data but conversations.

`luthier.prompts.template_process` runs this file as a script. It imports only Jinja, so that it
starts fast. The environment of templates is that of transformers' ``apply_chat_template``.

Windows has none of these limits, and macOS no memory limit; the limit of text holds everywhere.

A request is the length of a template (0: the previous template), the number of conversations, and
their lengths; then the template, and the values for each conversation in JSON. The reply to each
conversation is a length, a byte for its kind, and a text.
"""

from __future__ import annotations

import codecs
import datetime
import html  # noqa: F401
import json
import signal
import struct
import sys
import textwrap  # noqa: F401 - like four around: needed when no file can be opened any more
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import jinja2
import jinja2.constants
import jinja2.debug
import jinja2.ext
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

LENGTHS, LENGTH = struct.Struct("<II"), struct.Struct("<I")
TEXT, REFUSED, SYNTAX, TOO_LARGE = b"tRSL"
"""Kinds of reply: the text, the template's exception, a syntax error, or an exceeded limit."""

MAX_CHARACTERS = 4_000_000
MAX_BYTES = 160 * 2**20
MAX_SECONDS = 0.75
"""Processor time of a process for all templates, beyond the allowances below. A template that is
always slow uses it up; a single slow row does not."""
SECONDS_PER_ROW = 0.01
SECONDS_PER_BYTE = 1e-6
SECONDS_PER_TEMPLATE = 0.2
_WALL = 20
"""Factor from the limit of processor time to that of wall-clock time, for busy machines."""
_ROOM_PER_BYTE = 16
"""Memory for each byte of a conversation, which is copied several times."""
_MAX_MESSAGE = 300


class _Generation(jinja2.ext.Extension):
    """``{% generation %}`` marks an answer; it changes no text."""

    tags = frozenset({"generation"})  # type: ignore[assignment]

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

    def _write(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dict:
    """``dict`` without the attributes of a class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


class _Namespace(jinja2.utils.Namespace):
    """A namespace that refuses names with a leading underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, args = args[0], args[1:]
        given = dict(*args, **kwargs)
        for name in given:
            _require_public(name)
        jinja2.utils.Namespace.__init__(self, given)

    def __setitem__(self, name: str, value: Any) -> None:
        _require_public(name)
        super().__setitem__(name, value)


def _require_public(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"{name!r} cannot be kept in a namespace: it begins with an underscore")


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _strftime_now(format: str) -> str:  # noqa: A002 - the name that templates may use
    return datetime.datetime.now().strftime(format)


def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, jinja2.ext.loopcontrols],
        autoescape=False,
    )
    made.filters["tojson"] = _tojson
    made.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return made


_ENVIRONMENT = _environment()
for _codec in ("unicode_escape", "utf-8"):  # their first use would open files
    codecs.lookup(_codec)


@lru_cache(maxsize=8)
def compiled(source: str) -> jinja2.Template:
    """The compiled template of a source."""
    return _ENVIRONMENT.from_string(source)


def rendered(source: str, content: bytes) -> tuple[int, str]:
    """Render a template with its values.

    Args:
        source: the template.
        content: the conversation and the other values, as JSON.

    Returns:
        The kind of reply, and its text.
    """
    try:
        template = compiled(source)
        pieces: list[str] = []
        left = MAX_CHARACTERS + 2 * len(content)
        for piece in template.generate(json.loads(content)):
            left -= len(piece)
            if left < 0:
                return TOO_LARGE, f"makes more than {MAX_CHARACTERS:,} characters"
            pieces.append(piece)
        return TEXT, "".join(pieces)
    except jinja2.TemplateSyntaxError as error:
        return SYNTAX, f"{error.lineno}:{_told(error.message or '')}"
    except MemoryError:
        return TOO_LARGE, f"takes more than {MAX_BYTES // 2**20} MB of memory"
    except Exception as error:  # noqa: BLE001 - whatever a stranger's program raises
        return REFUSED, _told(error)


def _told(error: object) -> str:
    with suppress(Exception):  # an exception of a template may not even have a text
        text = str(error)[:_MAX_MESSAGE]
        return text or type(error).__name__
    return type(error).__name__


def serve(requests: BinaryIO, replies: BinaryIO, limits: Limits) -> None:
    """Answer requests until their stream ends.

    Args:
        requests: the stream of requests.
        replies: the stream of replies.
        limits: the limits of this process.
    """
    source = ""
    while head := requests.read(LENGTHS.size):
        new, count = LENGTHS.unpack(head)
        sizes = [size for (size,) in LENGTH.iter_unpack(requests.read(count * LENGTH.size))]
        limits.room(sum(sizes))
        source = requests.read(new).decode("utf-8", "surrogatepass") if new else source
        # Read all of them first, so that the caller has finished writing before replies come.
        contents = [requests.read(size) for size in sizes]
        more = SECONDS_PER_TEMPLATE if new else 0
        for content in contents:
            limits.begin(len(content), more)
            kind, text = rendered(source, content)
            reply = bytes([kind]) + text.encode("utf-8", "surrogatepass")
            limits.end()
            replies.write(LENGTH.pack(len(reply)) + reply)
            more = 0
            del text, reply
        replies.flush()


class Limits:
    """The limits that the operating system enforces on this process."""

    def __init__(self) -> None:
        self._left = MAX_SECONDS
        self._began = time.process_time()
        self._size = _size()
        with suppress(ImportError):  # Windows has none
            import resource

            for name in ("RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NOFILE"):
                resource.setrlimit(getattr(resource, name), (0, 0))
        self.room(0)

    def begin(self, size: int, more: float) -> None:
        """Start the timer for a template.

        Args:
            size: bytes of the conversation.
            more: further seconds.
        """
        allowed = SECONDS_PER_ROW + SECONDS_PER_BYTE * size + more
        self._left = min(MAX_SECONDS, self._left) + allowed
        self._began = time.process_time()
        _timer(self._left)

    def end(self) -> None:
        """Stop the timer and keep the unused time for the next template."""
        _timer(0)
        self._left -= time.process_time() - self._began

    def room(self, size: int) -> None:
        """Set the memory limit for conversations of ``size`` bytes."""
        if not self._size:
            return
        import resource

        room = self._size + MAX_BYTES + _ROOM_PER_BYTE * size
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        bound = room if most == resource.RLIM_INFINITY else min(room, most)
        resource.setrlimit(resource.RLIMIT_AS, (bound, most))


def _size() -> int:
    """The size of the address space in bytes; 0 if the system neither reports nor limits it."""
    with suppress(OSError, ImportError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return pages * resource.getpagesize()
    return 0


def _timer(seconds: float) -> None:
    """Set the timer that ends this process after so many seconds of work; 0 disables it."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, _WALL * seconds)


if __name__ == "__main__":
    for _name in ("SIGPROF", "SIGALRM"):
        if hasattr(signal, _name):
            signal.signal(getattr(signal, _name), signal.SIG_DFL)
    serve(sys.stdin.buffer, sys.stdout.buffer, Limits())
