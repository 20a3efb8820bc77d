"""Tasks that measure the likelihood (perplexity) of texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from luthier.core.row import Row
from luthier.prompts.jinja import Jinja
from luthier.tasks.item import Answer
from luthier.tasks.needs import Need
from luthier.tasks.task import Task


class TextTask(Task):
    """The likelihood of whole texts.

    A text longer than the context window is split into windows.
    """

    takes_shots: ClassVar[bool] = False
    takes_turns: ClassVar[bool] = False
    is_trainable: ClassVar[bool] = False

    kind: Literal["text"]
    trailing_whitespace: Literal["strip", "keep"] = "keep"
    delimiter: str = ""
    text: Jinja
    """The text to score, as a template."""
    counted: Jinja | None = None
    """The text whose words and bytes are counted, as a template; null: the scored text."""

    @property
    def gives(self) -> frozenset[Need]:
        """See `Task.gives`."""
        return frozenset({"likelihoods", "lengths"})

    @model_validator(mode="after")
    def _has_no_question(self) -> Self:
        if self.prompt or self.system or self.shots:
            raise ValueError("a task of the kind text has no prompt, system or shots")
        return self

    @property
    def snippets(self) -> Mapping[str, str]:
        """See `Task.snippets`."""
        return {**super().snippets, "text": self.text}

    def fields(self, row: Row) -> dict[str, Any]:
        """The text, and its numbers of words (parts between white space) and bytes.

        Raises:
            DataError: the text is empty.
        """
        text = self.filled("text", self.text, row)
        counted = self.render("counted", self.counted, row) if self.counted else text
        counts = {"words": len(re.split(r"\s+", counted)), "bytes": len(counted.encode())}
        return {"words": (text,), "counts": counts}

    def answer(self, row: Row, source_labels: Mapping[str, str]) -> Answer:
        """An empty answer: a text has no right or wrong answer."""
        return Answer(())
