"""A server on this machine that does what no server should, at the level of bytes.

Each behaviour is a function from the connection, after the request was read, to nothing; it sends
what it likes. `BEHAVIOURS` has them by name, with what a client may conclude.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

DRIP_SECONDS = 0.05
_GIVEN_UP_SECONDS = 60.0
Behave = Callable[[socket.socket], None]


class Behaviour(NamedTuple):
    """What is done, and what has to come of it.

    Attributes:
        behave: sends bytes.
        code: the exit code that it ends with.
        says: a part of the error.
    """

    behave: Behave
    code: int
    says: str


class HostileServer:
    """Listens until it is closed; each connection gets the same behaviour.

    Args:
        behave: what is done once a request was read.
        reads: whether the request is read before.
    """

    def __init__(self, behave: Behave, *, reads: bool = True) -> None:
        self._behave, self._reads = behave, reads
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.requests = 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> HostileServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        self.requests += 1
        connection.settimeout(_GIVEN_UP_SECONDS)
        with contextlib.suppress(OSError), connection:
            if self._reads:
                read_request(connection)
            self._behave(connection)


def read_request(connection: socket.socket) -> bytes:
    """The head of a request; its body is read too, and left."""
    content = b""
    while b"\r\n\r\n" not in content:
        content += connection.recv(65536)
    head, _, body = content.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            while len(body) < int(value):
                body += connection.recv(65536)
    return head


def sending(content: bytes) -> Behave:
    """Send these bytes and close."""
    return lambda connection: connection.sendall(content)


def dripping(before: bytes, drop: bytes = b"a") -> Behave:
    """Send something, and then byte by byte without end."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(before)
        until = time.monotonic() + _GIVEN_UP_SECONDS
        while time.monotonic() < until:
            for byte in drop:
                connection.sendall(bytes([byte]))
                time.sleep(DRIP_SECONDS)

    return behave


def flooding(before: bytes, part: bytes) -> Behave:
    """Send something, and then the same without end, as fast as it is taken."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(before)
        while True:
            connection.sendall(part)

    return behave


def silent(connection: socket.socket) -> None:
    """Say nothing, and keep the connection."""
    connection.recv(1)


def resetting(connection: socket.socket) -> None:
    """Reset the connection in the middle of a status line."""
    connection.sendall(b"HTTP/1.1 2")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def response(
    body: bytes, *headers: str, status: str = "200 OK", kind: str = "application/json"
) -> bytes:
    """A whole answer in good form."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    if kind:
        lines.append(f"Content-Type: {kind}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def head(*headers: str, status: str = "200 OK") -> bytes:
    """The beginning of an answer, whose body comes until the connection ends."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


def chat(content: Any = "odd", **more: Any) -> bytes:
    """The JSON of an answer to a conversation."""
    choice = {"message": {"content": content}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], **more}).encode()


def _json(text: str) -> Behave:
    return sending(response(text.encode("utf-8", "surrogatepass")))


def _refused(*headers: str, status: str, body: bytes = b"no") -> Behave:
    return sending(response(body, *headers, status=status))


_OK = "HTTP/1.1 200 OK\r\n"
_CHUNKED = head("Transfer-Encoding: chunked", "Content-Type: application/json")
_DEEP, _MANY = 100_000, 60_000
_MESSAGE = '{"choices": [{"message": {"content": %s}}]}'
TIME, SHAPE = 4, 3
BEHAVIOURS: dict[str, Behaviour] = {
    # Time: each ends at the deadline, whichever part drips.
    "silence": Behaviour(silent, TIME, "timed out"),
    "status-drips": Behaviour(dripping(b"HTTP/1.1 200 "), TIME, "timed out"),
    "one-header-drips": Behaviour(dripping(f"{_OK}X-A: ".encode()), TIME, "timed out"),
    "headers-drip": Behaviour(dripping(_OK.encode(), b"X-A: b\r\n"), TIME, "timed out"),
    "body-drips": Behaviour(dripping(head(), b" "), TIME, "timed out"),
    "length-drips": Behaviour(dripping(head("Content-Length: 900000"), b" "), TIME, "timed out"),
    "chunks-drip": Behaviour(dripping(_CHUNKED, b"1\r\n \r\n"), TIME, "timed out"),
    "chunk-size-drips": Behaviour(dripping(_CHUNKED, b"0"), TIME, "timed out"),
    "trailers-drip": Behaviour(
        dripping(_CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"), TIME, "timed out"
    ),
    "error-drips": Behaviour(dripping(head(status="400 Bad")), TIME, "timed out"),
    "error-chunks-drip": Behaviour(
        dripping(head("Transfer-Encoding: chunked", status="500 Bad"), b"1\r\na\r\n"),
        TIME,
        "timed out",
    ),
    "busy-drips": Behaviour(dripping(head(status="503 Busy")), TIME, "timed out"),
    "redirect-drips": Behaviour(
        dripping(head("Location: /v1/x", status="302 Found")), TIME, "timed out"
    ),
    "continue-drips": Behaviour(dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), TIME, "timed out"),
    "answer-then-silence": Behaviour(
        lambda connection: (
            connection.sendall(head("Content-Length: 900") + chat()),
            silent(connection),
        )[1],
        TIME,
        "timed out",
    ),
    # Size: none is read further than its limit.
    "endless-status": Behaviour(flooding(b"HTTP/1.1 200 ", b"a" * 65536), SHAPE, "head of"),
    "endless-header": Behaviour(flooding(f"{_OK}X: ".encode(), b"a" * 65536), SHAPE, "head of"),
    "endless-headers": Behaviour(
        flooding(_OK.encode(), b"X: " + b"a" * 60000 + b"\r\n"), SHAPE, "head of"
    ),
    "many-headers": Behaviour(flooding(_OK.encode(), b"X: a\r\n" * 50), TIME, "headers"),
    "endless-continue": Behaviour(
        flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 999), SHAPE, "head of the answer"
    ),
    "endless-body": Behaviour(flooding(head(), b" " * 65536), SHAPE, "larger than"),
    "endless-chunks": Behaviour(
        flooding(_CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"), SHAPE, "larger than"
    ),
    "endless-small-chunks": Behaviour(
        flooding(_CHUNKED, (b"64\r\n" + b" " * 100 + b"\r\n") * 999), SHAPE, "larger than"
    ),
    "endless-chunk-extensions": Behaviour(
        flooding(_CHUNKED, b"1;" + b"a" * 60000 + b"\r\n \r\n"), SHAPE, "larger than"
    ),
    "endless-trailers": Behaviour(
        flooding(_CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n" * 9999), SHAPE, "larger than"
    ),
    "endless-error": Behaviour(flooding(head(status="400 Bad"), b"a" * 65536), SHAPE, "400"),
    "thirty-megabytes": Behaviour(
        sending(response(chat("a" * 30_000_000))), SHAPE, "larger than 1.0 MiB"
    ),
    "long-answer": Behaviour(sending(response(chat("a" * 90_000))), SHAPE, "max_tokens"),
    "gzip-bomb": Behaviour(
        sending(response(gzip.compress(b" " * 10_000_000), "Content-Encoding: gzip")),
        SHAPE,
        "compressed",
    ),
    "gzip-unsaid": Behaviour(sending(response(gzip.compress(chat()))), SHAPE, "no JSON"),
    "gzip-error": Behaviour(
        _refused("Content-Encoding: gzip", status="400 Bad", body=gzip.compress(b" " * 10_000_000)),
        SHAPE,
        "400",
    ),
    # The protocol.
    "closed-at-once": Behaviour(lambda _connection: None, TIME, "connection failed"),
    "reset": Behaviour(resetting, TIME, "connection failed"),
    "http-0.9": Behaviour(sending(b"<html>hello</html>"), TIME, "connection failed"),
    "http-2": Behaviour(sending(b"\0\0\x12\4\0\0\0\0\0"), TIME, "connection failed"),
    "tls": Behaviour(sending(b"\x15\3\1\0\2\2\x28"), TIME, "connection failed"),
    "bad-version": Behaviour(sending(b"HTTP/x.y 200 OK\r\n\r\n{}"), TIME, "connection failed"),
    "status-of-letters": Behaviour(sending(b"HTTP/1.1 abc OK\r\n\r\n{}"), TIME, "failed"),
    "status-of-99999": Behaviour(sending(b"HTTP/1.1 99999 OK\r\n\r\n{}"), TIME, "failed"),
    "status-999": Behaviour(_refused(status="999 Odd"), SHAPE, "answers 999"),
    "switching": Behaviour(_refused("Upgrade: h2c", status="101 Switching"), SHAPE, "101"),
    "no-content": Behaviour(sending(head(status="204 None")), SHAPE, "no JSON"),
    "early-close": Behaviour(sending(head("Content-Length: 900") + chat()), TIME, "before the end"),
    "length-too-short": Behaviour(sending(head("Content-Length: 9") + chat()), SHAPE, "no JSON"),
    "length-of-letters": Behaviour(sending(head("Content-Length: abc") + b"{"), SHAPE, "no JSON"),
    "length-negative": Behaviour(sending(head("Content-Length: -5") + b"{"), SHAPE, "no JSON"),
    "length-huge": Behaviour(
        sending(head("Content-Length: " + "9" * 400) + chat()), SHAPE, "larger than"
    ),
    "length-of-5000-digits": Behaviour(
        sending(head("Content-Length: " + "9" * 5000) + b"{"), SHAPE, "no JSON"
    ),
    "chunks-garbage": Behaviour(sending(_CHUNKED + b"zz\r\nabc\r\n"), TIME, "failed"),
    "chunks-negative": Behaviour(sending(_CHUNKED + b"-5\r\nabc\r\n"), TIME, "failed"),
    "chunks-cut": Behaviour(sending(_CHUNKED + b"ffff\r\n{}"), TIME, "failed"),
    "chunk-of-2**64": Behaviour(sending(_CHUNKED + b"1" + b"0" * 16 + b"\r\n{}"), TIME, "failed"),
    "nul-header": Behaviour(sending(_OK.encode() + b"\0: \0\r\n\r\n{}"), SHAPE, "choices"),
    "html": Behaviour(sending(response(chat(), kind="text/html")), SHAPE, "text/html"),
    "event-stream": Behaviour(
        sending(response(b"data: {}", kind="text/event-stream")), SHAPE, "text/event-stream"
    ),
    # Refusals.
    "redirect-to-itself": Behaviour(_refused("Location: /v1", status="302 Found"), 2, "points to"),
    "redirect-to-file": Behaviour(
        _refused("Location: file:///etc/passwd", status="307 Moved"), 2, "points to"
    ),
    "redirect-of-10000-signs": Behaviour(
        _refused("Location: /" + "a" * 10_000, status="301 Moved"), 2, "points to"
    ),
    "redirect-nowhere": Behaviour(_refused(status="302 Found"), 2, "302"),
    "wait-of-400-digits": Behaviour(
        _refused("Retry-After: " + "9" * 400, status="429 Busy"), TIME, "asks to wait"
    ),
    "wait-of-5000-digits": Behaviour(
        _refused("Retry-After: " + "9" * 5000, status="503 Busy"), TIME, "asks to wait"
    ),
    "wait-negative": Behaviour(_refused("Retry-After: -9", status="429 Busy"), TIME, "429"),
    "wait-of-letters": Behaviour(_refused("Retry-After: nan", status="503 Busy"), TIME, "503"),
    "wait-no-date": Behaviour(
        _refused("Retry-After: Fri, 99 Foo 99999 99:99:99 +9999999999", status="503 Busy"),
        TIME,
        "503",
    ),
    "wait-till-9999": Behaviour(
        _refused("Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", status="503 Busy"),
        TIME,
        "asks to wait",
    ),
    "wait-since-year-1": Behaviour(
        _refused("Retry-After: Mon, 01 Jan 0001 00:00:00 -2359", status="503 Busy"), TIME, "503"
    ),
    "error-is-deep": Behaviour(
        _refused(status="400 Bad", body=b'{"error":' + b"[" * _DEEP + b"]" * _DEEP + b"}"),
        SHAPE,
        "400",
    ),
    "error-with-half-a-character": Behaviour(
        _refused(status="400 Bad", body=b'{"error": {"message": "\\ud800"}}'), SHAPE, "400"
    ),
    "error-with-terminal-codes": Behaviour(
        _refused(status="400 Bad", body=b"\x1b]0;title\x07\x9b31m"), SHAPE, "400"
    ),
    "challenge": Behaviour(
        _refused('WWW-Authenticate: Basic realm="x"', status="401 No"), 2, "api_key_env"
    ),
    # The JSON.
    "nothing": Behaviour(sending(response(b"")), SHAPE, "no JSON"),
    "deep-list": Behaviour(_json("[" * _DEEP), SHAPE, "no JSON"),
    "deep-object": Behaviour(_json('{"a":' * 500 + "1" + "}" * 500), SHAPE, "nested deeper"),
    "half-a-character": Behaviour(_json(_MESSAGE % '"\\ud83d"'), SHAPE, "surrogate"),
    "half-a-character-in-bytes": Behaviour(_json(_MESSAGE % '"\ud83d"'), SHAPE, "UTF-8"),
    "half-a-character-as-name": Behaviour(_json('{"\\udc00": 1}'), SHAPE, "surrogate"),
    "utf-16": Behaviour(sending(response(chat().decode().encode("utf-16"))), SHAPE, "UTF-8"),
    "same-name-twice": Behaviour(
        _json('{"choices": [], ' + (_MESSAGE % '"odd"')[1:]), SHAPE, "the same name twice"
    ),
    "nan": Behaviour(_json('{"choices": NaN}'), SHAPE, "NaN"),
    "infinity": Behaviour(_json('{"choices": -Infinity}'), SHAPE, "Infinity"),
    "number-of-9000-digits": Behaviour(
        _json('{"choices": [], "x": ' + "9" * 9000 + "}"), SHAPE, "no JSON"
    ),
    "two-documents": Behaviour(sending(response(chat() + chat())), SHAPE, "no JSON"),
    "a-word": Behaviour(_json('"choices"'), SHAPE, "no answer"),
    "no-choices": Behaviour(_json('{"choices": []}'), SHAPE, "choices"),
    "two-choices": Behaviour(
        _json('{"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}]}'),
        SHAPE,
        "choices",
    ),
    "many-choices": Behaviour(
        _json('{"choices": [' + ",".join(["{}"] * _MANY) + "]}"), SHAPE, "choices"
    ),
    "content-is-a-number": Behaviour(_json(_MESSAGE % "5"), SHAPE, "content"),
    "content-is-a-list": Behaviour(_json(_MESSAGE % '[{"text": "a"}]'), SHAPE, "content"),
    "tokens-negative": Behaviour(
        sending(response(chat(usage={"completion_tokens": -1}))), SHAPE, "completion_tokens"
    ),
    "tokens-infinite": Behaviour(
        _json('{"usage": {"prompt_tokens": 1e999}, ' + (_MESSAGE % '"odd"')[1:]),
        SHAPE,
        "prompt_tokens",
    ),
    "tokens-beyond-the-limit": Behaviour(
        sending(response(chat(usage={"completion_tokens": 10**9}))), SHAPE, "max_tokens"
    ),
    "prompt-of-a-billion-tokens": Behaviour(
        sending(response(chat(usage={"prompt_tokens": 10**9}))), SHAPE, "tokens of a prompt"
    ),
    "error-with-status-200": Behaviour(
        _json('{"error": {"message": "overloaded"}}'), SHAPE, "choices"
    ),
}
