"""Answer cache of a server: each answer is stored as it comes, with its cost."""

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
    """Looks up answers in a cache before it asks; it is thread-safe.

    Args:
        log: the answer cache; None: answers are not stored.
    """

    def __init__(self, log: ResultCache | None = None) -> None:
        self._log = log
        self._lock = threading.Lock()
        self.usage = Usage()
        """The cost of all answers that were returned."""

    def get(
        self, key: str, kind: type[_Result], ask: Callable[[], tuple[_Result, Counts | None]]
    ) -> _Result:
        """The answer stored under ``key``, or else that of ``ask``, which is then stored."""
        adapter = TypeAdapter(kind)
        kept: Any = self._log.get(key) if self._log else None
        try:
            result = adapter.validate_python(kept["result"])
            counts, seconds = Counts.model_validate(kept["usage"]), float(kept["seconds"])
        except (TypeError, KeyError, ValueError, ValidationError):  # no entry, or an incomplete one
            return self._asked(key, adapter, ask)
        self.count(counts, seconds)
        return result

    def count(self, counts: Counts | None, seconds: float = 0.0) -> None:
        """Count an answer; ``seconds`` is the time that a stored answer took."""
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
