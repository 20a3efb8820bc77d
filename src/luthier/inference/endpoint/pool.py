"""Many requests at the same time, and no faster than is wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeVar

from luthier.inference.engine import Advance

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
    advance: Advance,
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
    todo, lock = enumerate(items), threading.Lock()
    done: SimpleQueue[tuple[int, _Result] | Exception | None] = SimpleQueue()

    def run() -> None:
        while True:
            with lock:
                numbered = None if stopped.is_set() else next(todo, None)
            if numbered is None:
                return done.put(None)
            try:
                done.put((numbered[0], work(numbered[1])))
            except Exception as error:  # noqa: BLE001 - it is raised in the caller's thread
                stopped.set()
                done.put(error)

    running = min(workers, len(items))
    results: dict[int, _Result] = {}
    failures: list[Exception] = []
    stopped.clear()
    for _ in range(running):
        threading.Thread(target=run, daemon=True).start()
    try:
        while running:
            outcome = done.get()
            if outcome is None:
                running -= 1
            elif isinstance(outcome, Exception):
                failures.append(outcome)
            else:
                results[outcome[0]] = outcome[1]
                advance(1)
    except BaseException:
        stopped.set()
        raise
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(items))]
