"""HTTP connections with one deadline and a limit on received bytes.

A socket's timeout restarts with each byte, so a server that sends slowly could hold a client for
ever. Here all steps share one deadline: the DNS lookup, the connection, TLS, a proxy, the request,
the head of the answer and its body. Each byte from the wire counts towards the limit.
"""

from __future__ import annotations

import io
import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, cast
from urllib.request import (
    AbstractHTTPHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from luthier.core.deadline import Deadline
from luthier.core.units import format_bytes

MAX_HEAD_BYTES = 64 * 2**10
"""Limit of the status line and the headers, with everything before them."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CHUNK = 2**16


class TooLargeError(HTTPException):
    """An answer is larger than its limit."""


class Bounds:
    """The time and size limits of one exchange.

    Args:
        seconds: the time limit of the whole exchange.
    """

    def __init__(self, seconds: float) -> None:
        self.deadline = Deadline(seconds)
        self._part, self._size, self._left = "head", MAX_HEAD_BYTES, MAX_HEAD_BYTES

    def expect_body(self, size: int) -> None:
        """Allow ``size`` bytes of a body, and as many again for its chunked encoding."""
        self._part, self._size, self._left = "body", size, 2 * size + MAX_HEAD_BYTES

    def count(self, received: int) -> None:
        """Count received bytes.

        Raises:
            TooLargeError: they exceed the limit.
        """
        self._left -= received
        if self._left < 0:
            raise self.too_large()

    def too_large(self) -> TooLargeError:
        """The error for a part that is larger than allowed."""
        return TooLargeError(
            f"the {self._part} of the answer is larger than {format_bytes(self._size)}"
        )

    def connect(
        self, address: tuple[str, int], _timeout: object = None, _source: object = None
    ) -> socket.socket:
        """A connection to a host and a port, as `socket.create_connection` makes it.

        Raises:
            OSError: none of its addresses answers in time.
        """
        try:
            found = self.deadline.call(
                lambda: socket.getaddrinfo(*address, type=socket.SOCK_STREAM)  # has no limit itself
            )
        except UnicodeError as error:  # a proxy's name; one of an endpoint is checked before
            raise OSError(f"this can be the name of no host: {error}") from None
        failure: OSError = OSError("the name has no address")
        for index, (family, kind, protocol, _, place) in enumerate(found):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(self.deadline.left() / (len(found) - index))
                connection.connect(place)
            except OSError as error:
                connection.close()
                failure = error
            else:
                return connection
        raise failure


class _Wire(io.RawIOBase):
    """A socket's raw input, within bounds."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, bounds: Bounds) -> None:
        self._raw, self._socket, self._bounds = raw, connection, bounds

    def readable(self) -> bool:
        """True: this is an input stream."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read available bytes, or wait for them until the deadline."""
        self._socket.settimeout(self._bounds.deadline.left())
        try:
            received = cast("int | None", self._raw.readinto(buffer))
        except TimeoutError:
            self._bounds.deadline.left()  # raises an error that names the limit
            raise
        self._bounds.count(received or 0)
        return received

    def close(self) -> None:
        """Close the socket's file too."""
        self._raw.close()
        super().close()


class _Connection(HTTPConnection):
    """A connection within bounds."""

    def __init__(self, *arguments: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._bounds = bounds
        self._create_connection = bounds.connect

        def response_class(sock: socket.socket, *more: Any, **others: Any) -> HTTPResponse:
            response = HTTPResponse(sock, *more, **others)
            raw = response.fp.detach()
            response.fp = io.BufferedReader(_Wire(raw, sock, bounds))
            return response

        self.response_class = cast("type[HTTPResponse]", response_class)

    def connect(self) -> None:
        """Connect, through a proxy if there is one."""
        super().connect()
        self.sock.settimeout(self._bounds.deadline.left())

    def send(self, data: Any) -> None:
        """Send bytes in pieces, each within the time left."""
        if self.sock is None:
            self.connect()
        for start in range(0, len(data), _CHUNK):
            self.sock.settimeout(self._bounds.deadline.left())
            super().send(data[start : start + _CHUNK])


class _SecureConnection(_Connection, HTTPSConnection):
    """A TLS connection within bounds; the handshake uses the timeout of `_Connection.connect`."""


class _Handler(AbstractHTTPHandler):
    """Opens connections within bounds."""

    def __init__(self, bounds: Bounds, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self._bounds, self._context = bounds, context
        self.http_request = self.https_request = self.do_request_

    def http_open(self, request: Request) -> HTTPResponse:
        """Send a request."""
        connection: Any = _Connection
        return self.do_open(connection, request, bounds=self._bounds)

    def https_open(self, request: Request) -> HTTPResponse:
        """Send a request over TLS."""
        connection: Any = _SecureConnection
        return self.do_open(connection, request, bounds=self._bounds, context=self._context)


def opener(host: str, bounds: Bounds, context: ssl.SSLContext | None) -> OpenerDirector:
    """An opener for only HTTP and HTTPS, without redirects and without a proxy to this machine.

    Args:
        host: the host of the requests.
        bounds: the bounds of the single exchange for which it is used.
        context: the TLS context; None: a default one is made.
    """
    found = OpenerDirector()
    for handler in (
        ProxyHandler({} if host in _LOOPBACK else None),
        UnknownHandler(),
        _Handler(bounds, context),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
    ):
        found.add_handler(handler)
    return found
