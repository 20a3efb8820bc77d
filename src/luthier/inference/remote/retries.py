"""Requests that are repeated while there is hope."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from luthier.config.endpoint import EndpointConfig
from luthier.core.console import Console
from luthier.core.errors import ResourceError
from luthier.core.secrets import REPLACEMENT
from luthier.core.units import format_duration
from luthier.inference.engine import ProgressCallback
from luthier.inference.remote.http import TransientError, Transport
from luthier.inference.remote.pool import Pace, in_parallel

LONGEST_WAIT = 60.0
"""Seconds between two attempts; a server that asks for more is given up."""
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Client:
    """Asks a server, and again where that helps.

    Args:
        transport: exchanges.
        config: how often, how fast, how many at a time.
        console: is told of the first wait.
    """

    def __init__(self, transport: Transport, config: EndpointConfig, console: Console) -> None:
        self._transport, self._config, self._console = transport, config, console
        self._pace = Pace(config.requests_per_minute)
        self._stopped = threading.Event()
        self._has_told = self._has_told_repeat = False

    @property
    def concurrency(self) -> int:
        """Requests at the same time."""
        return self._config.concurrency

    @property
    def url(self) -> str:
        """Where the API begins."""
        return self._transport.url

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to a request; see `Transport.exchange`.

        The waits grow twofold from ``backoff``, and chance shortens each by up to a half, so that
        many clients do not come back at once. A server that says how long (Retry-After) is heard,
        by all threads. A question without a body is only retried where a server answered.

        Raises:
            ResourceError: the server stays busy, or out of reach.
            UsageError, DataError: it refuses the request, or its answer is none.
        """
        attempt = 0
        while True:
            self._sleep(self._pace.reserve())
            try:
                answer = self._transport.exchange(path, body)
                self._tell_repeat()
                return answer
            except TransientError as error:
                wait = self._wait(error, attempt)
                tries = self._config.retries if body is not None or error.reached else 0
                if attempt >= tries or wait > LONGEST_WAIT or self._stopped.is_set():
                    raise self._given_up(path, error, attempt, wait) from None
                self._tell(path, error, wait)
                if error.retry_after is None:
                    self._sleep(wait)
                else:
                    self._pace.pause(wait)
            attempt += 1

    def events(self, path: str, body: Mapping[str, Any]) -> Iterator[Any]:
        """The events of an answer that is streamed; see `Transport.events`. It is tried once.

        Raises:
            ResourceError: the server is busy, out of reach, or ends too early.
            UsageError, DataError: it refuses the request, or its answer is none.
        """
        self._sleep(self._pace.reserve())
        try:
            yield from self._transport.events(path, body)
        except TransientError as error:
            raise self._given_up(path, error, 0, 0.0) from None

    def ask_all(
        self, ask: Callable[[_Item], _Result], items: Sequence[_Item], advance: ProgressCallback
    ) -> list[_Result]:
        """``ask`` of each item, several at the same time; see `in_parallel`.

        Raises:
            LuthierError: the first failure.
        """
        before = self._transport.repeats
        try:
            return in_parallel(ask, items, self._config.concurrency, self._stopped, advance)
        finally:
            if count := self._transport.repeats - before:
                texts = "1 text" if count == 1 else f"{count:,} texts"
                self._console.warn(
                    f"{self.url}: {texts} of the server held the API key, now {REPLACEMENT}"
                )

    def _wait(self, error: TransientError, attempt: int) -> float:
        """Seconds until the next attempt."""
        if error.retry_after is not None:
            return error.retry_after
        longest: float = min(LONGEST_WAIT, self._config.backoff * 2**attempt)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - nothing is secret here

    def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._stopped.wait(seconds)

    def _tell(self, path: str, error: TransientError, wait: float) -> None:
        if not self._has_told:
            self._has_told = True
            self._console.warn(
                f"{self.url}{path}: {error.problem}; trying again in {format_duration(wait)}"
            )

    def _tell_repeat(self) -> None:
        if self._transport.repeats and not self._has_told_repeat:
            self._has_told_repeat = True
            self._console.warn(
                f"{self.url} repeats the API key that it was sent; {REPLACEMENT} stands in its "
                "place wherever it does"
            )

    def _given_up(
        self, path: str, error: TransientError, attempt: int, wait: float
    ) -> ResourceError:
        tries = f" (tried {attempt + 1} times)" if attempt else ""
        asks = f", and asks to wait {format_duration(wait)}" if wait > LONGEST_WAIT else ""
        return ResourceError(
            error.problem + tries + asks,
            where=self.url + path,
            fix="see that the server runs, wait, or lower model.endpoint.concurrency; the same "
            "command goes on with the answers it has",
        )
