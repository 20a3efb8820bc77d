"""Graceful stopping: a signal sets a request, and the work stops at a safe point."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A run that was interrupted in a notebook, shown without a traceback.

    Args:
        fix: how to continue.
    """

    def __init__(self, fix: str) -> None:
        super().__init__(fix)
        self.fix = fix

    def _render_traceback_(self) -> list[str]:
        """The text that a notebook shows."""
        return [f"interrupted; {self.fix}"]


class StopRequest:
    """Whether the current work was asked to stop."""

    def __init__(self) -> None:
        self.signal_name = ""

    @property
    def is_set(self) -> bool:
        """True after the first signal."""
        return bool(self.signal_name)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Convert SIGINT and SIGTERM into a stop request while the block runs.

    A second signal interrupts immediately. Outside the main thread signals cannot be caught, so the
    request is never set.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handler(number: int, _frame: FrameType | None) -> None:
        if request.is_set:
            raise KeyboardInterrupt
        request.signal_name = signal.Signals(number).name

    previous = {
        number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield request
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
