"""Concurrent requests with a rate limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Generic, TypeVar

from luthier.inference.engine import ProgressCallback

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Pace:
    """A rate limit that all threads share.

    Args:
        per_minute: the most requests in a minute; None: no limit.
    """

    def __init__(self, per_minute: float | None = None) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Reserve the next start and return the seconds until it."""
        with self._lock:
            now = time.monotonic()
            place = max(now, self._next)
            self._next = place + self._gap
        return place - now

    def pause(self, seconds: float) -> None:
        """Delay all further starts by at least so many seconds from now."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def in_parallel(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    workers: int,
    stopped: threading.Event,
    advance: ProgressCallback,
) -> list[_Result]:
    """The results of ``work`` for each item, in the order of the items.

    After a failure no new item begins, but items under way are finished, so that their results are
    not lost. An interruption waits for nothing: the threads end with the process.

    Args:
        work: processes an item, in any thread.
        items: the items.
        workers: the number of threads.
        stopped: set at the first failure, so that ``work`` can stop early.
        advance: called after each finished item, in the caller's thread.

    Raises:
        Exception: the first failure of ``work``.
    """
    workers = min(workers, len(items))
    stopped.clear()
    queue = _Queue(work, items, stopped)
    for _ in range(workers):
        threading.Thread(target=queue.serve, daemon=True).start()
    try:
        results = queue.collect(workers, advance)
    except BaseException:
        stopped.set()
        raise
    return [results[index] for index in range(len(items))]


class _Queue(Generic[_Item, _Result]):
    """A queue of items and their results."""

    def __init__(
        self,
        work: Callable[[_Item], _Result],
        items: Sequence[_Item],
        stopped: threading.Event,
    ) -> None:
        self._work, self._stopped = work, stopped
        self._todo, self._lock = enumerate(items), threading.Lock()
        self._done: SimpleQueue[tuple[int, _Result] | Exception | None] = SimpleQueue()

    def serve(self) -> None:
        """Process items until none are left or a failure stops all; None marks the end."""
        while (numbered := self._next()) is not None:
            try:
                self._done.put((numbered[0], self._work(numbered[1])))
            except Exception as error:  # noqa: BLE001 - it is raised in the caller's thread
                self._stopped.set()
                self._done.put(error)
        self._done.put(None)

    def collect(self, workers: int, advance: ProgressCallback) -> dict[int, _Result]:
        """The results by item number, after all workers have ended."""
        results: dict[int, _Result] = {}
        failures: list[Exception] = []
        while workers:
            outcome = self._done.get()
            if outcome is None:
                workers -= 1
            elif isinstance(outcome, Exception):
                failures.append(outcome)
            else:
                results[outcome[0]] = outcome[1]
                advance(1)
        if failures:
            raise failures[0]
        return results

    def _next(self) -> tuple[int, _Item] | None:
        with self._lock:
            return None if self._stopped.is_set() else next(self._todo, None)
