"""Requests with retries."""

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
"""Limit of the wait between two attempts in seconds; a longer Retry-After ends the retries."""
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Client:
    """A client of a server that retries after transient errors.

    Args:
        transport: sends the requests.
        config: the settings of retries, rate and concurrency.
        console: shows the first wait.
    """

    def __init__(self, transport: Transport, config: EndpointConfig, console: Console) -> None:
        self._transport, self._config, self._console = transport, config, console
        self._pace = Pace(config.requests_per_minute)
        self._stopped = threading.Event()
        self._has_told = self._has_told_repeat = False

    @property
    def has_key(self) -> bool:
        """Whether requests carry an API key."""
        return self._transport.has_key

    @property
    def concurrency(self) -> int:
        """The number of concurrent requests."""
        return self._config.concurrency

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return self._transport.url

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to a request; see `Transport.exchange`.

        Waits grow exponentially from ``backoff``, with a random reduction by up to a half, so that
        many clients do not come back at once. A server's Retry-After applies to all threads.
        Requests without a body are retried only if a server answered.

        Raises:
            ResourceError: the server stays busy or out of reach.
            UsageError, DataError: the server refuses the request, or its answer is not valid.
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
        """The events of a streamed answer, without retries; see `Transport.events`.

        Raises:
            ResourceError: the server is busy or out of reach, or the answer ends too early.
            UsageError, DataError: the server refuses the request, or its answer is not valid.
        """
        self._sleep(self._pace.reserve())
        try:
            yield from self._transport.events(path, body)
        except TransientError as error:
            raise self._given_up(path, error, 0, 0.0) from None

    def ask_all(
        self, ask: Callable[[_Item], _Result], items: Sequence[_Item], advance: ProgressCallback
    ) -> list[_Result]:
        """The results of ``ask`` for each item, with concurrent requests; see `in_parallel`.

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
            fix="see that the server runs and has the model (model.endpoint.name), wait, or lower "
            "model.endpoint.concurrency; the same command goes on with the answers it has",
        )
