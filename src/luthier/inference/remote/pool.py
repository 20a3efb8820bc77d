"""Many requests at the same time, and no faster than is wanted."""

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
    """When the next request may begin, for all threads together.

    Args:
        per_minute: the most requests in a minute; None: no limit.
    """

    def __init__(self, per_minute: float | None = None) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take the next place; the seconds until it."""
        with self._lock:
            now = time.monotonic()
            place = max(now, self._next)
            self._next = place + self._gap
        return place - now

    def pause(self, seconds: float) -> None:
        """Let nothing begin for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def in_parallel(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    workers: int,
    stopped: threading.Event,
    advance: ProgressCallback,
) -> list[_Result]:
    """``work`` of each item; results in the order of the items.

    After a failure nothing new begins, and what is under way is waited for, so that its results
    are not lost. An interruption waits for nothing: the threads end with the process.

    Args:
        work: what is done with an item, in any thread.
        items: the items.
        workers: threads.
        stopped: is set at the first failure, for ``work`` to see.
        advance: is told of each item that is done, in the caller's thread.

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
    """Items to do, and what came of them."""

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
        """Do items until there are none, or a failure stops all; the last word is None."""
        while (numbered := self._next()) is not None:
            try:
                self._done.put((numbered[0], self._work(numbered[1])))
            except Exception as error:  # noqa: BLE001 - it is raised in the caller's thread
                self._stopped.set()
                self._done.put(error)
        self._done.put(None)

    def collect(self, workers: int, advance: ProgressCallback) -> dict[int, _Result]:
        """The results by number, when all workers have ended."""
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
