"""A time by which all of something has to be over, however many parts it has."""

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
    """One limit for many steps, each of which gets what is left of it.

    Args:
        seconds: from now on, by a clock that never goes back.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left, more than 0.

        Raises:
            TimeoutError: none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._over()
        return left

    def call(self, work: Callable[[], _Result]) -> _Result:
        """The result of ``work``, which has no limit of its own; it runs in another thread.

        Where it takes longer it is left alone, and ends with the process at the latest.

        Raises:
            TimeoutError: it takes longer than what is left.
            Exception: its own.
        """
        results: SimpleQueue[_Result | _Failure] = SimpleQueue()

        def run() -> None:
            try:
                results.put(work())
            except Exception as error:  # noqa: BLE001 - it is raised in the caller's thread
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
