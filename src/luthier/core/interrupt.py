"""Stopping at a good moment: a signal asks, the work stops where nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether somebody has asked the current work to stop."""

    def __init__(self) -> None:
        self.signal_name = ""

    @property
    def is_set(self) -> bool:
        """True after the first signal."""
        return bool(self.signal_name)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request while the block runs.

    A second signal interrupts at once. Outside the main thread signals cannot be caught, and the
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
