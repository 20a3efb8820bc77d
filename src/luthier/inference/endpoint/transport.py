"""One exchange with a server. What it sends is untrusted: its size, time and form are limited."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from luthier.core.errors import DataError, LuthierError, UsageError
from luthier.core.guarded import MalformedError, parse_foreign

MAX_BYTES = 32 * 2**20
"""The largest answer that is read."""
_CHUNK = 2**16
_SHOWN = 300
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Too many requests, and what a server or a proxy says of itself when it may recover.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class TransientError(Exception):
    """The same request may succeed later.

    Attributes:
        problem: what happened, for people.
        retry_after: seconds that the server asks to wait; None: it does not say.
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

    Redirects are not followed: they would carry the key and the data to another server.

    Args:
        url: where the API begins, such as ``http://127.0.0.1:8000/v1``.
        key: the API key; None: none is sent.
        timeout: seconds an exchange may take.

    Raises:
        UsageError: the URL is not one of a server's API.
    """

    def __init__(self, url: str, key: str | None = None, timeout: float = 600.0) -> None:
        self.url = checked_url(url)
        self._key, self._timeout = key, timeout
        self._opener = _opener(urlsplit(self.url).hostname or "")

    def exchange(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to a POST of ``body``, or to a GET where there is none.

        Raises:
            TransientError: the server is busy, failed, or was not reached.
            UsageError: it refuses the key, or knows no such path or model.
            DataError: it refuses the request, or the answer is too large or no JSON.
        """
        address = self.url + path
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        request = Request(address, data, headers)  # noqa: S310 - checked_url allows HTTP alone
        deadline = time.monotonic() + self._timeout
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                content = _read(response, deadline, address)
        except HTTPError as error:
            raise self._refusal(error, address) from None
        except (OSError, HTTPException) as error:  # URLError and TimeoutError are OSErrors
            reason = error.reason if isinstance(error, URLError) else error
            raise TransientError(f"the connection failed: {_words(reason)}") from None
        return _parsed(content, address)

    def _refusal(self, error: HTTPError, address: str) -> Exception:
        """What a status other than success means."""
        said = self._said(error)
        problem = f"the server answers {error.code}" + (f": {said}" if said else "")
        if error.code in _TRANSIENT:
            wait = _seconds(error.headers.get("Retry-After"))
            return TransientError(problem, retry_after=wait, reached=True)
        kind, fix = _explained(error.code)
        if location := error.headers.get("Location"):
            problem += f", and points to {printable(location)}"
        return kind(problem, where=address, fix=fix)

    def _said(self, error: HTTPError) -> str:
        """The message in the body of an error, without the key should it stand there."""
        content = b""
        with contextlib.suppress(OSError, HTTPException):
            content = error.read(_CHUNK)
        error.close()
        text = content.decode("utf-8", "replace")
        with contextlib.suppress(DataError):
            text = _message(parse_foreign(text, "")) or text
        return printable(text.replace(self._key, "…") if self._key else text)


def checked_url(url: str) -> str:
    """The URL of an API, without a slash at the end.

    Raises:
        UsageError: it has another scheme than http(s), no host, a password, a query or a fragment.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"this is no URL: {error}", where="model.id") from None
    if parts.scheme.lower() not in ("http", "https") or not host:
        problem = "an endpoint is an http or https URL with a host"
    elif parts.username or parts.password:
        problem = "the URL holds a user or a password, which would be stored with the run"
    elif parts.query or parts.fragment or any(sign.isspace() or ord(sign) < 32 for sign in url):
        problem = "the URL of an endpoint has no query, fragment or white space"
    else:
        return url.rstrip("/")
    raise UsageError(
        problem,
        where="model.id",
        fix="write it like http://127.0.0.1:8000/v1, and name the variable of a key in "
        "model.endpoint.api_key_env",
    )


def printable(text: str) -> str:
    """Text of a server as a short line that leaves a terminal as it is."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _SHOWN]).split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"


def _opener(host: str) -> OpenerDirector:
    """No redirects, and no proxy to this machine itself."""
    direct = [ProxyHandler({})] if host in _LOOPBACK else []
    return build_opener(_NoRedirects(), *direct)


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None: the status is an error as others are."""


def _read(response: IO[bytes], deadline: float, address: str) -> bytes:
    """The body, up to the largest size and the deadline: sockets time out by part alone."""
    content = bytearray()
    while chunk := response.read1(_CHUNK):  # type: ignore[attr-defined]
        content += chunk
        if len(content) > MAX_BYTES:
            raise DataError(
                f"the answer is larger than {MAX_BYTES // 2**20} MiB",
                where=address,
                fix="check that this is the URL of an OpenAI-compatible API",
            )
        if time.monotonic() > deadline:
            raise TimeoutError("the answer took too long")
    expected = getattr(response, "length", None)
    if expected:  # read1 does not tell what is missing
        raise ConnectionError(f"it was closed {expected:,} bytes before the end")
    return bytes(content)


def _parsed(content: bytes, address: str) -> Any:
    try:
        return parse_foreign(content, address)
    except MalformedError:
        raise DataError(
            f"the answer is no JSON: {printable(content[:_SHOWN].decode('utf-8', 'replace'))!r}",
            where=address,
            fix="check that this is the URL of an OpenAI-compatible API; most end in /v1",
        ) from None


def _explained(status: int) -> tuple[type[LuthierError], str]:
    """The kind of mistake, and what to do."""
    if status in (401, 403):
        return UsageError, "name the variable that holds the key in model.endpoint.api_key_env"
    if status in (404, 405):
        return NotFoundError, (
            "check the URL (most end in /v1) and the model's name; for a server without "
            "/completions set model.endpoint.completions=false"
        )
    if 300 <= status < 400:
        return UsageError, "give the URL that answers itself: redirects are not followed"
    return DataError, "shorten the prompts or the answers, or change what the server names"


def _message(body: Any) -> str:
    """What OpenAI, FastAPI and others call the reason."""
    if not isinstance(body, dict):
        return ""
    error = body.get("error", body.get("detail", body.get("message", "")))
    if isinstance(error, dict):
        error = error.get("message", "")
    return error if isinstance(error, str) else json.dumps(error)


def _seconds(retry_after: str | None) -> float | None:
    """RFC 9110, section 10.2.3: a number of seconds, or a date."""
    if retry_after is None:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, float(int(retry_after)))
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    return None


def _words(reason: object) -> str:
    return printable(str(reason)) or type(reason).__name__
