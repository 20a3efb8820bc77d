"""Answers of a server, kept one by one as they come, with what they took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from luthier.inference.engine import Generation, Score, TextLoss
from luthier.inference.remote.answers import Usage
from luthier.records.result_cache import ResultCache

_Result = TypeVar("_Result", Generation, Score, TextLoss)


class Cost(NamedTuple):
    """What answers took: tokens as the server counts them, and the time of those from the log."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    seconds_kept: float = 0.0

    def plus(self, usage: Usage, seconds_kept: float = 0.0) -> Cost:
        """With one more answer."""
        return Cost(
            self.prompt_tokens + usage.prompt_tokens,
            self.generated_tokens + usage.completion_tokens,
            self.seconds_kept + seconds_kept,
        )


class AnswerLog:
    """Looks into a log before it asks; many threads may use it.

    Args:
        log: where answers are kept; None: nowhere.
    """

    def __init__(self, log: ResultCache | None = None) -> None:
        self._log = log
        self._lock = threading.Lock()
        self.cost = Cost()
        """Of all answers that were given out."""

    def get(
        self, key: str, kind: type[_Result], ask: Callable[[], tuple[_Result, Usage | None]]
    ) -> _Result:
        """The answer that is kept under ``key``, or that of ``ask``, which is kept."""
        adapter = TypeAdapter(kind)
        kept: Any = self._log.get(key) if self._log else None
        try:
            result = adapter.validate_python(kept["result"])
            usage, seconds = Usage.model_validate(kept["usage"]), float(kept["seconds"])
        except (TypeError, KeyError, ValueError, ValidationError):  # there is none, or no whole one
            return self._asked(key, adapter, ask)
        with self._lock:
            self.cost = self.cost.plus(usage, seconds)
        return result

    def _asked(
        self,
        key: str,
        adapter: TypeAdapter[_Result],
        ask: Callable[[], tuple[_Result, Usage | None]],
    ) -> _Result:
        started = time.monotonic()
        result, usage = ask()
        usage = usage or Usage()
        entry: dict[str, Any] = {
            "seconds": time.monotonic() - started,
            "usage": usage.model_dump(),
            "result": adapter.dump_python(result, mode="json"),
        }
        with self._lock:
            self.cost = self.cost.plus(usage)
            if self._log:
                self._log.add({key: entry})
        return result
