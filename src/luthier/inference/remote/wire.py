"""Connections that end at a deadline and carry a limited number of bytes, whatever is sent.

The timeout of a socket begins anew with each byte, so a server that drips is waited for without
end. Here each step gets what is left of one deadline: the name, the connection, TLS, a proxy, the
request, the head of the answer and its body. And each byte counts, as it comes from the wire.
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
"""The longest status line and headers, with all that comes before them."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CHUNK = 2**16


class TooLargeError(HTTPException):
    """More came than the limit allows."""


class Bounds:
    """How long one exchange may take, and how much may come.

    Args:
        seconds: for all of it.
    """

    def __init__(self, seconds: float) -> None:
        self.deadline = Deadline(seconds)
        self._part, self._size, self._left = "head", MAX_HEAD_BYTES, MAX_HEAD_BYTES

    def expect_body(self, size: int) -> None:
        """Allow ``size`` bytes of a body, and as many again for how it is cut into chunks."""
        self._part, self._size, self._left = "body", size, 2 * size + MAX_HEAD_BYTES

    def count(self, received: int) -> None:
        """Count what came.

        Raises:
            TooLargeError: it is too much.
        """
        self._left -= received
        if self._left < 0:
            raise self.too_large()

    def too_large(self) -> TooLargeError:
        """The error to raise where a part is larger than allowed."""
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
    """What comes from a socket, within bounds."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, bounds: Bounds) -> None:
        self._raw, self._socket, self._bounds = raw, connection, bounds

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there, or wait for it until the deadline."""
        self._socket.settimeout(self._bounds.deadline.left())
        try:
            received = cast("int | None", self._raw.readinto(buffer))
        except TimeoutError:
            self._bounds.deadline.left()  # says of which limit
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
        """Connect, through a proxy where there is one."""
        super().connect()
        self.sock.settimeout(self._bounds.deadline.left())

    def send(self, data: Any) -> None:
        """Send bytes in pieces, each within what is left."""
        if self.sock is None:
            self.connect()
        for start in range(0, len(data), _CHUNK):
            self.sock.settimeout(self._bounds.deadline.left())
            super().send(data[start : start + _CHUNK])


class _SecureConnection(_Connection, HTTPSConnection):
    """The same with TLS: its handshake heeds the timeout that `_Connection.connect` leaves."""


class _Handler(AbstractHTTPHandler):
    """Opens such connections."""

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
    """What opens HTTP and HTTPS alone: no redirects, and no proxy to this machine itself.

    Args:
        host: where the requests go.
        bounds: of the one exchange that it is used for.
        context: for TLS; None: the usual one is made.
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
