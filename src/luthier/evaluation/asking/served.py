"""Encoding of task questions for a server, which has the tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.core.errors import UsageError
from luthier.core.example import Example
from luthier.evaluation.asking.encode import Fitted, TaskEncoder, text_of
from luthier.inference import ScoreRequest
from luthier.inference.tokenise import moved_spaces
from luthier.prompts.answers import AnswerReader
from luthier.prompts.prompt import Conversation, ServedPrompt
from luthier.prompts.served import ServedRenderer
from luthier.tasks.item import Asked, Question


@dataclass(frozen=True, slots=True)
class ServedEncoder(TaskEncoder[str]):
    """An encoder of plain text for a server, which counts the tokens.

    Attributes:
        renderer: renders prompts for the server.
    """

    renderer: ServedRenderer

    @property
    def uses_chat_template(self) -> bool:
        """See `TaskEncoder.uses_chat_template`."""
        return self.writes_turns or not self.renderer.continues

    @property
    def reader(self) -> AnswerReader:
        """See `TaskEncoder.reader`."""
        return self.renderer.reader

    def context(self, asked: Asked) -> str | Conversation:
        """See `TaskEncoder.context`."""
        return asked.text

    def shown(self, context: str | Conversation) -> str:
        """See `TaskEncoder.shown`."""
        return text_of(context)

    def room_beside(self, answer_tokens: int) -> None:
        """See `TaskEncoder.room_beside`."""

    def has_room(self, question: Question, answer_tokens: int) -> bool:
        """True, because only the server knows its context window."""
        return True

    def prompt(self, question: Question, answer_tokens: int) -> Fitted:
        """See `TaskEncoder.prompt`."""
        context = question.context
        if isinstance(context, str):
            return Fitted(self.renderer.text_prompt(context), False)
        return Fitted(ServedPrompt(context, question.prompt), False)

    def pairs(
        self, context: str | Conversation, continuations: Sequence[str]
    ) -> list[ScoreRequest[str]]:
        """See `TaskEncoder.pairs`.

        Raises:
            UsageError: the context is a conversation; servers score no continuations of these.
        """
        if not isinstance(context, str):
            raise UsageError(
                "a server does not score the choices of a question to its chat template",
                where="evaluate.task_chat_template",
                fix="leave it out, name a task whose answers are generated, or run the model on "
                "this machine",
            )
        kept, texts = moved_spaces(context, continuations)
        return [ScoreRequest(kept, text) for text in texts]

    def fits(self, request: ScoreRequest[str]) -> bool:
        """True, because only the server knows its context window."""
        return True

    def cut(self, request: ScoreRequest[str], where: str) -> ScoreRequest[str]:
        """The request unchanged, because only the server knows its context window."""
        return request

    def windows(self, text: str) -> list[ScoreRequest[str]]:
        """The text as one window; the server refuses a text that is too long."""
        return [ScoreRequest("", text)]


@dataclass(frozen=True, slots=True)
class ServedChatEncoder(ServedEncoder):
    """An encoder of conversations for a server, with few-shot examples as turns."""

    writes_turns = True

    def context(self, asked: Asked) -> Conversation:
        """See `TaskEncoder.context`."""
        return self.renderer.conversation(Example("question", asked.turns, ()))
