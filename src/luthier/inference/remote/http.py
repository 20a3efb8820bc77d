"""HTTP exchanges with an untrusted server, with limits on size, time and form."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Set
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request

from luthier.core.errors import DataError, LuthierError, UsageError
from luthier.core.secrets import Secrets
from luthier.inference.remote.address import checked_url
from luthier.inference.remote.reading import largest_answer, read_json
from luthier.inference.remote.wire import Bounds, TooLargeError, opener

_CHUNK = 2**16
_SHOWN = 300
_LONGEST_WAIT = 10.0**9
"""Upper limit of a server's Retry-After in seconds, because a server may send any number."""
# Content types that are JSON or unspecific.
_JSON_KINDS = frozenset(
    {
        "", "application/json", "text/json", "text/plain",
        "application/octet-stream", "binary/octet-stream",
    }
)  # fmt: skip
_EVENTS = "text/event-stream"
_LINE_BYTES = 2**20
"""Limit of a line of a streamed answer."""
# Too many requests, and states from which a server or a proxy may recover.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIX_URL = "check that this is the URL of an OpenAI-compatible API; most end in /v1"


class TransientError(Exception):
    """A failure after which the same request may succeed later.

    Attributes:
        problem: a human-readable description.
        retry_after: the server's Retry-After in seconds; None if it sent none.
        reached: whether a server answered at all.
    """

    def __init__(
        self, problem: str, *, retry_after: float | None = None, reached: bool = False
    ) -> None:
        super().__init__(problem)
        self.problem, self.retry_after, self.reached = problem, retry_after, reached


class NotFoundError(UsageError):
    """The server knows no such path, or no such model."""


class Transport:
    """Sends JSON to paths below a URL, and reads JSON.

    Redirects are not followed, because they would carry the key and the data to another server.
    The key is removed from every answer before the answer is used.

    Args:
        url: the base URL of the API, such as ``http://127.0.0.1:8000/v1``.
        key: the API key; None: none is sent.
        timeout: the time limit of an exchange in seconds, from the DNS lookup to the last byte.

    Raises:
        UsageError: the URL cannot be that of a server's API.
    """

    def __init__(self, url: str, key: str | None = None, timeout: float = 600.0) -> None:
        self.url = checked_url(url)
        self._key, self._timeout = key, timeout
        self._secrets = Secrets(key)
        self._host = urlsplit(self.url).hostname or ""
        secure = self.url.lower().startswith("https")
        self._context = ssl.create_default_context() if secure else None
        self._lock = threading.Lock()
        self.repeats = 0
        """The number of texts from the server that contained the key."""

    @property
    def has_key(self) -> bool:
        """Whether requests carry an API key."""
        return self._key is not None

    def exchange(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to a POST of ``body``, or to a GET if ``body`` is None.

        Raises:
            TransientError: the server is busy, fails, is out of reach or takes too long.
            UsageError: the server refuses the key, or knows no such path or model.
            DataError: the server refuses the request, or the answer is too large or not JSON.
        """
        bounds = Bounds(self._timeout)
        with self._response(path, body, "application/json", bounds) as response:
            kind = _kind(response.headers, _JSON_KINDS)
            content = _read(response, bounds, largest_answer(body, _size(body)))
        return self._parsed(content, kind, self.url + path)

    def events(self, path: str, body: Mapping[str, Any]) -> Iterator[Any]:
        """The events of a streamed answer (server-sent events), as they come.

        The timeout and the size limit are those of the whole answer.

        Raises:
            LuthierError: as `exchange`; DataError also if the server does not stream.
        """
        bounds = Bounds(self._timeout)
        size = largest_answer(body, _size(body))
        with self._response(path, body, _EVENTS, bounds) as response:
            if kind := _kind(response.headers, {_EVENTS}):
                raise DataError(
                    f"the server does not stream its answer: it is {self._shown(kind)}",
                    where=self.url + path,
                    fix="ask without streaming",
                )
            for line in _lines(response, bounds, size):
                name, _, data = line.partition(b":")
                if name == b"data" and data.strip() == b"[DONE]":
                    return
                if name == b"data":
                    yield self._parsed(data.strip(), "", self.url + path)

    @contextlib.contextmanager
    def _response(
        self, path: str, body: Mapping[str, Any] | None, accept: str, bounds: Bounds
    ) -> Iterator[Any]:
        """An open response to a request.

        Raises:
            TransientError, UsageError, DataError: see `exchange`.
        """
        address = self.url + path
        headers = {"Accept": accept, "Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        request = Request(address, data, headers)  # noqa: S310 - checked_url allows HTTP only
        try:
            with opener(self._host, bounds, self._context).open(request) as response:
                yield response
        except HTTPError as error:
            raise self._refusal(error, bounds, address) from None
        except TooLargeError as error:
            raise DataError(str(error), where=address, fix=_FIX_URL) from None
        except (OSError, HTTPException) as error:  # URLError and TimeoutError are OSErrors
            raise self._failed(error) from None

    def _parsed(self, content: bytes, kind: str, address: str) -> Any:
        """The JSON of an answer.

        Raises:
            DataError: the answer is not JSON.
        """
        try:
            if kind:
                raise ValueError(f"it is {self._shown(kind)}")
            return read_json(content, self._scrubbed)
        except ValueError as error:
            beginning = content[: 8 * _SHOWN].decode("utf-8", "replace")
            raise DataError(
                f"the answer is no JSON: {self._shown(beginning)!r} ({self._shown(str(error))})",
                where=address,
                fix=_FIX_URL,
            ) from None

    def _failed(self, error: Exception) -> TransientError:
        """The error for an incomplete answer."""
        reason = error.reason if isinstance(error, URLError) else error
        words = self._shown(str(reason)) or type(reason).__name__
        if isinstance(reason, TimeoutError):
            words += " (model.endpoint.timeout)"
        return TransientError(f"the connection failed: {words}")

    def _refusal(self, error: HTTPError, bounds: Bounds, address: str) -> Exception:
        """The error for a status other than success."""
        try:
            said = self._said(error, bounds)
        except TimeoutError as late:
            return self._failed(late)
        problem = f"the server answers {error.code}" + (f": {said}" if said else "")
        if error.code in _TRANSIENT:
            wait = _seconds(error.headers.get("Retry-After"))
            return TransientError(problem, retry_after=wait, reached=True)
        kind, fix = _explained(error.code)
        if location := error.headers.get("Location"):
            problem += f", and points to {self._shown(location)}"
        return kind(problem, where=address, fix=fix)

    def _said(self, error: HTTPError, bounds: Bounds) -> str:
        """The message in the body of an error.

        Raises:
            TimeoutError: the body does not end in time.
        """
        content = bytearray()
        try:
            bounds.expect_body(_CHUNK)
            while len(content) < _CHUNK and (chunk := error.fp.read1(_CHUNK)):  # type: ignore[attr-defined]
                content += chunk
        except TimeoutError:
            raise
        except (OSError, HTTPException):
            pass  # a part of a message is better than none
        finally:
            error.close()
        text = content.decode("utf-8", "replace")
        with contextlib.suppress(ValueError, RecursionError):
            text = _message(json.loads(text)) or text
        return self._shown(text)

    def _scrubbed(self, text: str) -> str:
        """A text from the server without the key."""
        scrubbed = self._secrets.scrub(text)
        if scrubbed != text:
            with self._lock:
                self.repeats += 1
        return scrubbed

    def _shown(self, text: str) -> str:
        """A text from the server for messages; the key is removed before a cut can divide it."""
        return printable(self._secrets.scrub(text[: 16 * _SHOWN]))


def printable(text: str) -> str:
    """A server's text as one short line without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _SHOWN]).split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"


def _size(body: Mapping[str, Any] | None) -> int:
    """The size of a request in bytes."""
    return 0 if body is None else len(json.dumps(body).encode())


def _kind(headers: Any, wanted: Set[str]) -> str:
    """The content type or encoding for which an answer is refused; "" if it is acceptable."""
    coding = str(headers.get("Content-Encoding", "")).strip().lower()
    if coding not in ("", "identity"):
        return f"compressed ({coding}), which was not asked for"
    kind = str(headers.get("Content-Type", "")).partition(";")[0].strip().lower()
    if kind in wanted or (wanted is _JSON_KINDS and kind.endswith("+json")):
        return ""
    return kind


def _read(response: IO[bytes], bounds: Bounds, size: int) -> bytes:
    """The body, up to ``size`` bytes and within the bounds.

    Raises:
        TooLargeError: the body is larger.
        TimeoutError: the body takes too long.
    """
    return b"".join(_chunks(response, bounds, size))


def _lines(response: IO[bytes], bounds: Bounds, size: int) -> Iterator[bytes]:
    """The lines of the body, as they come; raises as `_read`."""
    rest = b""
    for chunk in _chunks(response, bounds, size):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE_BYTES:
            raise bounds.too_large()
        yield from (line.rstrip(b"\r") for line in lines)
    yield rest


def _chunks(response: IO[bytes], bounds: Bounds, size: int) -> Iterator[bytes]:
    """The body in pieces; raises as `_read`."""
    bounds.expect_body(size)
    if (getattr(response, "length", None) or 0) > size:
        raise bounds.too_large()
    total = 0
    while chunk := response.read1(_CHUNK):  # type: ignore[attr-defined]
        total += len(chunk)
        if total > size:
            raise bounds.too_large()
        yield chunk
    expected = getattr(response, "length", None)
    if expected:  # read1 does not report missing bytes
        raise ConnectionError(f"it was closed {expected:,} bytes before the end")


def _explained(status: int) -> tuple[type[LuthierError], str]:
    """The error class of a status, and the fix to suggest."""
    if status in (401, 403):
        return UsageError, "name the variable that holds the key in model.endpoint.api_key_env"
    if status in (404, 405):
        return NotFoundError, (
            "check the URL (most end in /v1) and the model's name; for a server without "
            "/completions set model.endpoint.completions=false"
        )
    if status < 200:
        return DataError, "check the URL: an API answers requests, and speaks nothing else"
    if 300 <= status < 400:
        return UsageError, "give the URL that answers itself: redirects are not followed"
    return DataError, "shorten the prompts or the answers, or change what the server names"


def _message(body: Any) -> str:
    """The error message in the formats of OpenAI, FastAPI and others."""
    if not isinstance(body, dict):
        return ""
    error = body.get("error", body.get("detail", body.get("message", "")))
    if isinstance(error, dict):
        error = error.get("message", "")
    return error if isinstance(error, str) else json.dumps(error)


def _seconds(retry_after: str | None) -> float | None:
    """The seconds of a Retry-After header, a number or a date; None if it is neither.

    See RFC 9110, section 10.2.3.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), _LONGEST_WAIT)
    with contextlib.suppress(ValueError, TypeError, OverflowError, IndexError, OSError):
        wait = parsedate_to_datetime(text).timestamp() - time.time()
        return min(max(0.0, wait), _LONGEST_WAIT)
    return None
