"""Loss masks of conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from luthier.prompts.layouts import Layout
from luthier.prompts.token_boundaries import Boundary
from luthier.prompts.tokens import Encoder, Tokens
from luthier.prompts.written import Span, Written

_LAST_TEXTS = 16
# Single characters that seldom share a token with the text after them.
_NEUTRAL = ("\n", ":", "]", "?")


class Masked(NamedTuple):
    """A conversation as tokens with a loss mask.

    Attributes:
        ids: the tokens.
        trained: for each token, whether it is part of a trained answer.
        withheld: for each token, whether it is part of an untrained answer or reasoning.
        prompt_length: the number of tokens before the last answer.
        is_joined: whether prompt and answer were tokenised separately.
    """

    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    withheld: tuple[bool, ...]
    prompt_length: int
    is_joined: bool


@dataclass(frozen=True)  # no slots: they exclude cached properties
class Masks:
    """Finds the tokens of answers through their places in the text.

    The text is tokenised whole. At inference the model gets the tokens of the prompt. These may not
    be the first tokens of the whole text, because one token may have characters of both prompt and
    answer. Then the answer is tokenised separately, as in generation, and a conversation is cut
    into one text for each answer.

    Attributes:
        layout: tokenises a text.
        encoder: finds boundaries.
        begin: the tokens before every text.
        trains_reasoning: whether the reasoning before an answer is trained too.
    """

    layout: Layout
    encoder: Encoder
    begin: tuple[int, ...]
    trains_reasoning: bool

    def tokens(self, text: str) -> Tokens:
        """The tokens of a text of the layout, after the tokens before every text."""
        return self._remembered(text)

    @cached_property
    def _remembered(self) -> Callable[[str], Tokens]:
        """A cached `_encode`: cutting a conversation needs the same few texts repeatedly."""
        return lru_cache(maxsize=_LAST_TEXTS)(self._encode)

    def _encode(self, text: str) -> Tokens:
        ids, offsets = self.layout.encode(text)
        # A text that spells out the BOS token does not get a second one.
        begin = self.begin if ids[: len(self.begin)] != self.begin else ()
        if begin and offsets is not None:
            offsets = (*((0, 0) for _ in begin), *offsets)
        return Tokens(begin + ids, offsets)

    def parts(self, written: Written) -> Iterator[Written]:
        """The conversation, or each trained answer after its prompt.

        The conversation is cut if its tokens do not begin with those of each prompt.
        """
        trained = [span for span in written.answers if span.is_trained]
        if len(written.answers) > 1 and trained:
            tokens = self.tokens(written.text)
            places = (self._boundary(tokens, written.text, span.asked) for span in trained)
            if not all(place.is_clean for place in places):
                for span in trained:
                    yield Written(written.text[: span.end], (span,), trains_prompt=False)
                return
        yield written

    def mask(self, written: Written) -> Masked:
        """The tokens of a conversation with their loss mask."""
        tokens, is_joined = self._behind_prompt(written)
        asked = 0
        trained = [False] * len(tokens.ids)
        withheld = [False] * len(tokens.ids)
        for span in written.answers:
            asked, begin, end = self._range(tokens, written.text, span)
            withheld[asked:end] = [True] * (end - asked)
            if span.is_trained:
                trained[begin:end] = [True] * (end - begin)
                withheld[begin:end] = [False] * (end - begin)
        return Masked(tokens.ids, tuple(trained), tuple(withheld), asked, is_joined)

    def _range(self, tokens: Tokens, text: str, span: Span) -> tuple[int, int, int]:
        """An answer's first token, its first trainable token, and its end."""
        asked = begin = self._boundary(tokens, text, span.asked).at
        if not self.trains_reasoning and span.content > span.asked:
            begin = max(begin, self._boundary(tokens, text, span.content).at)
        if span.end == len(text):
            return asked, begin, len(tokens.ids)
        if self.layout.is_behind_token(text, span.end) or tokens.offsets is None:
            end = self._boundary(tokens, text, span.end).at
        else:
            shown = len(self.layout.show(text[: span.end]))
            behind = (i for i, (start, _) in enumerate(tokens.offsets) if start >= shown)
            end = next(behind, len(tokens.ids))
        return asked, begin, max(begin, end)

    def _behind_prompt(self, written: Written) -> tuple[Tokens, bool]:
        """The tokens of a text, and whether prompt and answer were tokenised separately."""
        text, asked = written.text, written.answers[-1].asked
        whole = self.tokens(text)
        if len(written.answers) > 1 or self._boundary(whole, text, asked).is_clean:
            return whole, False
        before = self.tokens(text[:asked])
        for neutral in _NEUTRAL:  # the tokenizer may add a space to a text's first token
            context = self.layout.encode(neutral)
            both = self.layout.encode(neutral + text[asked:])
            length = len(context.ids)
            if both.ids[:length] == context.ids:
                ids = before.ids + both.ids[length:]
                shift = len(self.layout.show(text[:asked])) - len(neutral)
                return Tokens(ids, _joined_offsets(before, both, length, shift)), True
        return whole, True

    def _boundary(self, tokens: Tokens, text: str, place: int) -> Boundary:
        before = text[:place]
        shown = len(self.layout.show(before))
        return self.encoder.boundary(tokens, self._remembered_before(text, place), shown)

    @cached_property
    def _remembered_before(self) -> Callable[[str, int], tuple[int, ...]]:
        return lru_cache(maxsize=_LAST_TEXTS)(self._before)

    def _before(self, text: str, place: int) -> tuple[int, ...]:
        if self.begin:  # it may stand in the text or not
            return self.tokens(text[:place]).ids
        return self.layout.before(self.tokens(text), text, place)


def _joined_offsets(
    before: Tokens, both: Tokens, length: int, shift: int
) -> tuple[tuple[int, int], ...] | None:
    """The offsets of a prompt and of an answer that was encoded after a neutral text."""
    if before.offsets is None or both.offsets is None:
        return None
    answer = ((start + shift, end + shift) for start, end in both.offsets[length:])
    return (*before.offsets, *answer)
