"""One deadline shared by several steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeVar

from luthier.core.units import format_duration

_Result = TypeVar("_Result")


class _Failure(NamedTuple):
    error: Exception


class Deadline:
    """A time limit for a sequence of steps; each step gets the remaining time.

    Args:
        seconds: the limit from now on, on a monotonic clock.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def left(self) -> float:
        """The seconds left, more than 0.

        Raises:
            TimeoutError: the deadline has passed.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._over()
        return left

    def call(self, work: Callable[[], _Result]) -> _Result:
        """The result of ``work``, run in another thread and limited by the deadline.

        Work that exceeds the limit keeps running in its daemon thread until it or the process ends.

        Raises:
            TimeoutError: ``work`` exceeds the time left.
            Exception: as raised by ``work``.
        """
        results: SimpleQueue[_Result | _Failure] = SimpleQueue()

        def run() -> None:
            try:
                results.put(work())
            except Exception as error:  # noqa: BLE001 - re-raised in the caller's thread
                results.put(_Failure(error))

        threading.Thread(target=run, daemon=True).start()
        try:
            result = results.get(timeout=self.left())
        except Empty:
            raise self._over() from None
        if isinstance(result, _Failure):
            raise result.error
        return result

    def _over(self) -> TimeoutError:
        return TimeoutError(f"timed out after {format_duration(self._seconds)}")
