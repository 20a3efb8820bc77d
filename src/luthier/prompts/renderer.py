"""The contract of what writes prompts for one model and reads its answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, Self

from luthier.core.example import Example
from luthier.prompts.answers import AnswerReader
from luthier.prompts.prompt import Prompt

if TYPE_CHECKING:
    from luthier.prompts.render import PromptRenderer


class Renderer(Protocol):
    """Writes prompts and reads answers: in tokens (`PromptRenderer`), or for a server."""

    @property
    def use_chat_template(self) -> bool:
        """Whether questions are written with the model's chat template."""

    @property
    def system(self) -> str | None:
        """A system message for conversations that have none."""

    @property
    def keep_special(self) -> bool:
        """Whether rows may spell out special tokens."""

    @property
    def own_template(self) -> str | None:
        """A chat template that is used instead of the model's; None: there is none."""

    @property
    def default_system(self) -> str:
        """The system message that the chat template writes where there is none."""

    @property
    def reader(self) -> AnswerReader:
        """Finds the answer in a generated text."""

    def prompt(self, example: Example, *, answer_tokens: int = 0) -> Prompt:
        """The question of an example; its references are not looked at.

        Args:
            example: the example.
            answer_tokens: room to keep for the answer.

        Raises:
            DataError: there is no room for the answer, the chat template refuses the conversation,
                or the example is plain text.
        """

    def stop_strings(self, examples: Iterable[Example]) -> tuple[str, ...]:
        """The texts that end an answer, where worked examples before it show how a text goes on.

        Args:
            examples: text that stands within one of their answers ends none.
        """

    def spelled_tokens(self, example: Example) -> list[str]:
        """The special tokens that an example spells out, as far as they are known."""

    def within(self, context_window: int | None) -> Self:
        """The same with another context window; None: only the engine knows it."""

    def with_reserved_positions(self, positions: int) -> Self:
        """The same with a context window that is ``positions`` tokens smaller."""

    def tokenised(self) -> PromptRenderer:
        """The renderer as one that gives tokens.

        Raises:
            UsageError: the tokenizer is on a server.
        """
