"""Answers of a server, kept one by one as they come, with what they took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from luthier.inference.engine import Generation, Score, TextLoss, Usage
from luthier.inference.remote.answers import Counts
from luthier.records.result_cache import ResultCache

_Result = TypeVar("_Result", Generation, Score, TextLoss)


class AnswerLog:
    """Looks into a log before it asks; many threads may use it.

    Args:
        log: where answers are kept; None: nowhere.
    """

    def __init__(self, log: ResultCache | None = None) -> None:
        self._log = log
        self._lock = threading.Lock()
        self.usage = Usage()
        """Of all answers that were given out."""

    def get(
        self, key: str, kind: type[_Result], ask: Callable[[], tuple[_Result, Counts | None]]
    ) -> _Result:
        """The answer that is kept under ``key``, or that of ``ask``, which is kept."""
        adapter = TypeAdapter(kind)
        kept: Any = self._log.get(key) if self._log else None
        try:
            result = adapter.validate_python(kept["result"])
            counts, seconds = Counts.model_validate(kept["usage"]), float(kept["seconds"])
        except (TypeError, KeyError, ValueError, ValidationError):  # there is none, or no whole one
            return self._asked(key, adapter, ask)
        self.count(counts, seconds)
        return result

    def count(self, counts: Counts | None, seconds: float = 0.0) -> None:
        """Count an answer that is given out, and the time that it took where it was kept."""
        counts = counts or Counts()
        with self._lock:
            self.usage = Usage(
                self.usage.seconds + seconds,
                self.usage.prompt_tokens + counts.prompt_tokens,
                self.usage.generated_tokens + counts.completion_tokens,
            )

    def _asked(
        self,
        key: str,
        adapter: TypeAdapter[_Result],
        ask: Callable[[], tuple[_Result, Counts | None]],
    ) -> _Result:
        started = time.monotonic()
        result, counts = ask()
        entry: dict[str, Any] = {
            "seconds": time.monotonic() - started,
            "usage": (counts or Counts()).model_dump(),
            "result": adapter.dump_python(result, mode="json"),
        }
        self.count(counts)
        if self._log:
            with self._lock:
                self._log.add({key: entry})
        return result
