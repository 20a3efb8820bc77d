"""The interface of renderers, which write prompts for a model and read its answers."""

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
        """The user's chat template, used instead of the model's; None if there is none."""

    @property
    def default_system(self) -> str:
        """The chat template's default system message; empty if it has none."""

    @property
    def reader(self) -> AnswerReader:
        """The reader that finds the answer in a generated text."""

    def prompt(self, example: Example, *, answer_tokens: int = 0) -> Prompt:
        """The prompt of an example; its references are ignored.

        Args:
            example: the example.
            answer_tokens: the room to reserve for the answer.

        Raises:
            DataError: there is no room for the answer, the chat template refuses the conversation,
                or the example is plain text.
        """

    def stop_strings(self, examples: Iterable[Example]) -> tuple[str, ...]:
        """The stop strings for prompts with shots, after which a model may go on with more turns.

        Args:
            examples: a text that occurs in one of their answers is no stop string.
        """

    def spelled_tokens(self, example: Example) -> list[str]:
        """The special tokens that an example spells out, as far as they are known."""

    def within(self, context_window: int | None) -> Self:
        """A renderer with another context window; None if only the engine knows it."""

    def with_reserved_positions(self, positions: int) -> Self:
        """A renderer whose context window is ``positions`` tokens smaller."""

    def tokenised(self) -> PromptRenderer:
        """The renderer that produces tokens.

        Raises:
            UsageError: the tokenizer is on a server.
        """
