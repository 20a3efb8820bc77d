"""Extraction of the answer, without reasoning, from a generated text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from luthier.prompts.reasoning import KNOWN_TAGS, ThinkTags, without_thought
from luthier.prompts.tokens import Encoder


class AnswerReader:
    """Separates a generated answer from the reasoning before it.

    Args:
        encoder: knows the special tokens, which a generated text omits; None: they are not known.
        tags: the chat template's tags around reasoning, tried before all known tags.
        lead: the template's text before every answer.
        is_opened: whether every prompt ends with the tag that opens reasoning.
    """

    def __init__(
        self,
        encoder: Encoder | None,
        tags: Iterable[ThinkTags] = (),
        *,
        lead: str = "",
        is_opened: bool = False,
    ) -> None:
        self._encoder = encoder
        self._tags = (*tags, *KNOWN_TAGS)
        self._lead = lead.strip()
        self._is_opened = is_opened

    def answer(self, text: str, ids: Sequence[int] = (), asked: str = "") -> str:
        """The answer in a generated text.

        Args:
            text: the generated text, without special tokens.
            ids: its tokens, which show reasoning tags that are special tokens.
            asked: the prompt, which may end with the tag that opens reasoning.

        Returns:
            The answer; empty if the reasoning does not end.
        """
        is_opened = self._is_opened or any(
            asked.rstrip().endswith(tags.open) for tags in self._tags
        )
        if self._encoder is None or not ids or not self._marks_are_special:
            return self._behind(text, is_opened=is_opened)
        # Only the tokens have the tags, and only the text is cut at a stop string.
        whole = self._encoder.text_of(ids)
        answer = self._encoder.bare(self._behind(whole, is_opened=is_opened)).strip()
        shown = self._encoder.bare(whole).strip()
        before = shown[: len(shown) - len(answer)] if shown.endswith(answer) else ""
        text = text.strip()
        return "" if before.startswith(text) and before else text.removeprefix(before).strip()

    def is_special(self, text: str) -> bool:
        """Whether a text contains a special token, which reasoning never does."""
        return self._encoder is not None and bool(self._encoder.spelled(text))

    def _behind(self, text: str, *, is_opened: bool) -> str:
        if not is_opened:
            text = text.strip().removeprefix(self._lead)
        answer = without_thought(text, self._tags, is_opened=is_opened)
        return answer.strip().removeprefix(self._lead).strip()

    @cached_property
    def _marks_are_special(self) -> bool:
        marks = (*(mark for tags in self._tags for mark in tags), self._lead)
        return any(map(self.is_special, marks))
