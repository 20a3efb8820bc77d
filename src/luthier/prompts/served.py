"""Prompts for a model on a server, which has the tokenizer and the chat template."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from luthier.config.prompt import PromptConfig, Reasoning
from luthier.core.errors import DataError, UsageError
from luthier.core.example import Example, Message
from luthier.prompts.answers import AnswerReader
from luthier.prompts.plain_text import PlainText
from luthier.prompts.prompt import Conversation, ServedPrompt
from luthier.prompts.reasoning import inline
from luthier.prompts.render import PromptRenderer
from luthier.prompts.turns import asked_turns


@dataclass(frozen=True, slots=True)
class ServedRenderer:
    """Writes conversations as messages, or as plain text; see `luthier.prompts.renderer.Renderer`.

    Messages are sent separately, so no row can write a turn under another role.

    Attributes:
        writes_turns: whether a prompt is a conversation; if false, plain text.
        system: a system message for conversations that have none.
        reasoning: whether earlier answers keep their reasoning.
        continues: whether the server continues plain text; if false, it is sent as a user turn.
    """

    writes_turns: bool
    system: str | None
    reasoning: Reasoning
    continues: bool

    own_template = None
    keep_special = False
    default_system = ""

    @classmethod
    def from_config(cls, config: PromptConfig, *, continues: bool) -> ServedRenderer:
        """The renderer that a configuration asks for.

        Raises:
            UsageError: the configuration names a chat template or arguments for one.
        """
        is_own = config.chat_template not in ("auto", "never")
        if is_own or config.chat_template_kwargs:
            raise UsageError(
                "a server writes conversations with its own chat template",
                where="prompt.chat_template" if is_own else "prompt.chat_template_kwargs",
                fix="leave it out, and set the template where the server is started",
            )
        return cls(config.chat_template != "never", config.system, config.reasoning, continues)

    @property
    def use_chat_template(self) -> bool:
        """Whether the server renders prompts with its chat template."""
        return self.writes_turns or not self.continues

    @property
    def reader(self) -> AnswerReader:
        """The reader of a generated text, without knowledge of special tokens."""
        return AnswerReader(None)

    def prompt(self, example: Example, *, answer_tokens: int = 0) -> ServedPrompt:
        """See `Renderer.prompt`. The server checks whether there is room for the answer.

        Raises:
            DataError: the example is plain text, or has tools.
        """
        del answer_tokens
        if example.is_plain_text:
            raise DataError("plain text has no prompt", where=example.where)
        if self.writes_turns:
            conversation = self.conversation(example)
            return ServedPrompt(conversation, conversation.text)
        turns = asked_turns(example, self.system, self.reasoning)
        return self.text_prompt(PlainText().question(turns, example.tools, example.where))

    def conversation(self, example: Example) -> Conversation:
        """The turns of a prompt.

        Raises:
            DataError: the example has tools.
        """
        turns = asked_turns(example, self.system, self.reasoning)
        if example.tools or any(turn.tool_calls or turn.role == "tool" for turn in turns):
            raise DataError(
                "tools are not sent to a server",
                where=example.where,
                fix="leave these rows out, or run the model on this machine",
            )
        return Conversation(tuple(Message(turn.role, inline(turn)) for turn in turns))

    def text_prompt(self, text: str) -> ServedPrompt:
        """A prompt that is plain text."""
        said = text if self.continues else Conversation((Message("user", text),))
        return ServedPrompt(said, text)

    def stop_strings(self, examples: Iterable[Example]) -> tuple[str, ...]:
        """See `Renderer.stop_strings`: a conversation needs none."""
        if self.writes_turns:
            return ()
        answers = (reference for example in examples for reference in example.references)
        return PlainText().stop_strings(answers)

    def spelled_tokens(self, example: Example) -> list[str]:
        """An empty list, because the special tokens are not known."""
        del example
        return []

    def within(self, context_window: int | None) -> ServedRenderer:
        """This renderer, because only the server knows its context window."""
        del context_window
        return self

    def with_reserved_positions(self, positions: int) -> ServedRenderer:
        """This renderer, because a server's model gets no soft prompt."""
        del positions
        return self

    def tokenised(self) -> PromptRenderer:
        """See `Renderer.tokenised`.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "the tokenizer of this model is on its server",
            where="model.id",
            fix="name a model that is on this machine",
        )
