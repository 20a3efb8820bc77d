"""Where an answer ends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from luthier.config import Decoding
from luthier.inference.engine import Generation

# A tokenizer may drop or move a space between tokens, so a few more are looked at.
_MARGIN_TOKENS = 4


class Stopping:
    """Says when an answer is over, and what it is then.

    Args:
        tokenizer: turns tokens into text, in which stop strings are looked for.
        stop_ids: the tokens that end a turn.
        decoding: the stop strings and the limit.
    """

    def __init__(self, tokenizer: Any, stop_ids: frozenset[int], decoding: Decoding) -> None:
        self.stop_ids = stop_ids
        self.max_new_tokens = decoding.max_new_tokens
        self._tokenizer = tokenizer
        self._strings = decoding.stop
        # No token of text is shorter than a byte.
        longest = max((len(string.encode()) for string in decoding.stop), default=0)
        self._tail = longest + _MARGIN_TOKENS
        self._special = frozenset(tokenizer.all_special_ids) if decoding.stop else frozenset()

    def is_ended(self, ids: Sequence[int]) -> bool:
        """Whether the last token ends the answer, which had not ended before.

        Only a tail that can contain a stop string is decoded; all, where it seems to.
        """
        if ids[-1] in self.stop_ids:
            return True
        if not self._strings:
            return False
        visible = (token for token in reversed(ids) if token not in self._special)
        tail = list(islice(visible, self._tail))[::-1]
        return self._cut(self._text(tail)) is not None and self._cut(self._text(ids)) is not None

    def is_over(self, ids: Sequence[int]) -> bool:
        """Whether the answer has ended, or may not become longer."""
        return len(ids) >= self.max_new_tokens or self.is_ended(ids)

    def generation(self, ids: Sequence[int]) -> Generation:
        """The answer that is made of these tokens."""
        ended = bool(ids) and ids[-1] in self.stop_ids
        kept = tuple(ids[:-1] if ended else ids)
        text = self._text(kept)
        before = self._cut(text)
        if before is not None:
            return Generation(kept, before.strip(), "stop")
        return Generation(kept, text.strip(), "stop" if ended else "length")

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _cut(self, text: str) -> str | None:
        """The text before the first stop string; None where there is none."""
        places = [place for string in self._strings if (place := text.find(string)) >= 0]
        return text[: min(places)] if places else None
