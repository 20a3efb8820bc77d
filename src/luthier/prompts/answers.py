"""The answer in what a model generated: what stands behind its reasoning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from luthier.prompts.reasoning import KNOWN_TAGS, ThinkTags, without_thought
from luthier.prompts.tokens import Encoder


class AnswerReader:
    """Tells a generated answer from the reasoning before it, whoever asked: data or a task.

    Args:
        encoder: knows special tokens, which a generated text leaves out; None: nobody does.
        tags: what the chat template writes around reasoning, looked for before all known tags.
        lead: what stands before every answer.
        is_opened: every prompt ends with the tag that opens reasoning.
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
        """What a generated text says.

        Args:
            text: what was generated, without special tokens.
            ids: its tokens; they show the tags around reasoning where these are special tokens.
            asked: the prompt, which may end with the tag that opens reasoning.

        Returns:
            Nothing where the reasoning does not end.
        """
        is_opened = self._is_opened or any(
            asked.rstrip().endswith(tags.open) for tags in self._tags
        )
        if self._encoder is None or not ids or not self._marks_are_special:
            return self._behind(text, is_opened=is_opened)
        # The marks are in the tokens only; a stop text cuts the text only.
        whole = self._encoder.text_of(ids)
        answer = self._encoder.bare(self._behind(whole, is_opened=is_opened)).strip()
        shown = self._encoder.bare(whole).strip()
        before = shown[: len(shown) - len(answer)] if shown.endswith(answer) else ""
        text = text.strip()
        return "" if before.startswith(text) and before else text.removeprefix(before).strip()

    def is_special(self, text: str) -> bool:
        """Whether a text holds a special token, which reasoning never does."""
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
