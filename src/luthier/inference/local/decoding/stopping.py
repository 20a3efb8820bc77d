"""The rules that end an answer: end-of-turn tokens, stop strings and a token limit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice
from typing import Any

from luthier.config import Decoding
from luthier.inference.engine import Generation, before_stop

# A tokenizer may drop or move a space between tokens, so a few more tokens are decoded.
_MARGIN_TOKENS = 4


class Stopping:
    """Decides when an answer is over, and cuts it to its text.

    Stop strings are searched for twice: in the visible text, without special tokens, and in the
    text with its special tokens spelled out. So ``<|im_end|>`` and ``</s>`` end an answer whether
    or not the tokenizer has such a token, and special tokens between the letters of a stop string
    do not hide it. lm-evaluation-harness searches the spelled-out text.

    Args:
        tokenizer: decodes tokens into the text that is searched for stop strings.
        stop_ids: the tokens that end a turn.
        decoding: the stop strings and the token limit.
    """

    def __init__(self, tokenizer: Any, stop_ids: frozenset[int], decoding: Decoding) -> None:
        self.stop_ids = stop_ids
        self.max_new_tokens = decoding.max_new_tokens
        self._tokenizer = tokenizer
        self._strings = decoding.stop
        # No token of text is shorter than a byte.
        longest = max((len(string.encode()) for string in decoding.stop), default=0)
        self._tail = longest + _MARGIN_TOKENS
        self._special = special_ids(tokenizer) if decoding.stop else frozenset()

    def is_ended(self, ids: Sequence[int]) -> bool:
        """Whether the last token ends the answer, given that no earlier token did.

        Only a tail long enough for a stop string is decoded. If one seems to be there, the whole
        answer is.
        """
        if ids[-1] in self.stop_ids:
            return True
        if not self._strings:
            return False
        visible = (token for token in reversed(ids) if token not in self._special)
        tails = [list(islice(visible, self._tail))[::-1]]
        if not self._special.isdisjoint(ids[-self._tail :]):
            tails.append(list(ids[-self._tail :]))
        return any(self._before_stop(tail) is not None for tail in tails) and (
            self._before_stop(ids) is not None
        )

    def is_over(self, ids: Sequence[int]) -> bool:
        """Whether the answer has ended or has reached the token limit."""
        return len(ids) >= self.max_new_tokens or self.is_ended(ids)

    def generation(self, ids: Sequence[int]) -> Generation:
        """The answer that these tokens form."""
        ended = bool(ids) and ids[-1] in self.stop_ids
        kept = tuple(ids[:-1] if ended else ids)
        # The end-of-turn token may complete a stop string.
        before = self._before_stop(ids)
        if before is not None:
            return Generation(kept, before.strip(), "stop")
        return Generation(kept, self.visible(kept).strip(), "stop" if ended else "length")

    def _before_stop(self, ids: Sequence[int]) -> str | None:
        """The visible text before the first stop string; None if there is none."""
        found = [before_stop(self.visible(ids), self._strings)]
        if not self._special.isdisjoint(ids):
            found.append(self._before_spelled(ids))
        return min((text for text in found if text is not None), key=len, default=None)

    def _before_spelled(self, ids: Sequence[int]) -> str | None:
        """The visible text before the first stop string of the spelled-out text."""
        before = before_stop(self._spelled(ids), self._strings)
        if before is None:
            return None
        place = len(before)
        # The shortest prefix of the tokens that reaches into the stop string.
        lengths = range(len(ids))
        count = bisect_right(lengths, place, key=lambda n: len(self._spelled(ids[: n + 1]))) + 1
        if ids[count - 1] in self._special:
            return self.visible(ids[: count - 1])
        beyond = len(self._spelled(ids[:count])) - place
        text = self.visible(ids[:count])
        return text[: max(len(text) - beyond, 0)]

    def visible(self, ids: Sequence[int]) -> str:
        """The text of some tokens, without special tokens."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _spelled(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=False, spaces_between_special_tokens=False
        )
        return text


def special_ids(tokenizer: Any) -> frozenset[int]:
    """The special tokens of a tokenizer, which visible text leaves out."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(tokenizer.all_special_ids) | {id_ for id_, token in added if token.special}
