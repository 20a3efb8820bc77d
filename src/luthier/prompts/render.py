"""From an example to tokens: the one way for training, evaluation and serving."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from luthier.config.prompt import PromptConfig
from luthier.core.errors import DataError, UsageError
from luthier.core.example import Example, Message
from luthier.prompts.layouts import ChatLayout, Layout, PlainLayout, Segment
from luthier.prompts.tokens import Encoder, Tokenizer


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is fed before it answers."""

    ids: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """Tokens, and which of them count.

    Attributes:
        id: the example's id.
        input_ids: the whole conversation; for encoder-decoder models, the encoder's input.
        trained: as long as ``input_ids``: whether a token is predicted and counted in the loss.
            The first one never is, since nothing comes before it.
        prompt_length: how many of ``input_ids`` stand before the last answer.
        decoder_ids: the answer for encoder-decoder models, all of it trained; else empty.
        weight: how much the loss counts each trained token, relative to other examples.
    """

    id: str
    input_ids: tuple[int, ...]
    trained: tuple[bool, ...]
    prompt_length: int
    decoder_ids: tuple[int, ...] = ()
    weight: float = 1.0

    @property
    def length(self) -> int:
        """Tokens, prompt and answer."""
        return len(self.input_ids) + len(self.decoder_ids)

    @property
    def num_trained(self) -> int:
        """Tokens that are counted in the loss."""
        return sum(self.trained) + len(self.decoder_ids)


@dataclass(frozen=True)  # no slots: they exclude cached properties
class PromptRenderer:
    """Renders examples for one tokenizer.

    Attributes:
        tokenizer: the model's tokenizer.
        use_chat_template: write conversations with the tokenizer's chat template.
        system: a system message for conversations that have none.
        context_window: tokens that the model takes, the answer included (for encoder-decoder
            models, tokens of the encoder's input).
        encoder_decoder: the model reads the prompt in an encoder; chat templates do not apply.
        answer_separator: what stands between question and answer in plain text. Its trailing
            spaces are tokenised with the answer.

    Raises:
        DataError: a chat template is wanted and the tokenizer has none.
    """

    tokenizer: Tokenizer
    use_chat_template: bool
    system: str | None
    context_window: int
    encoder_decoder: bool
    answer_separator: str = "\n"

    def __post_init__(self) -> None:
        if self.use_chat_template and not self.tokenizer.chat_template:
            raise DataError(
                "the tokenizer has no chat template", fix="set prompt.chat_template to never"
            )
        if self.use_chat_template and self.encoder_decoder:
            raise UsageError("an encoder-decoder model has no use for a chat template")

    @classmethod
    def from_config(
        cls,
        config: PromptConfig,
        tokenizer: Tokenizer,
        *,
        context_window: int,
        encoder_decoder: bool = False,
    ) -> Self:
        """The renderer that a configuration asks for."""
        has_template = bool(tokenizer.chat_template) and not encoder_decoder
        return cls(
            tokenizer=tokenizer,
            use_chat_template=config.chat_template == "auto" and has_template,
            system=config.system,
            context_window=context_window,
            encoder_decoder=encoder_decoder,
        )

    def beside(self, positions: int) -> PromptRenderer:
        """One that leaves so many positions of the context window to something else."""
        return replace(self, context_window=self.context_window - positions)

    def prompt(self, example: Example, *, answer_tokens: int = 0) -> Prompt:
        """What is fed before the answer.

        Args:
            example: the question; its references are not looked at.
            answer_tokens: room to keep for the answer.

        Raises:
            DataError: the prompt is too long, the chat template refuses it, or the example is
                plain text.
        """
        if example.is_plain_text:
            raise DataError("plain text has no prompt", where=example.where)
        segments = self._layout.question(self._messages(example), example.where)
        prompt = self._prompt(segments)
        room = self.context_window - (0 if self.encoder_decoder else answer_tokens)
        if len(prompt.ids) > room:
            raise DataError(
                f"the prompt has {len(prompt.ids)} tokens, and there is room for {room} in a "
                f"context window of {self.context_window}",
                where=example.where,
                fix="use fewer shots, a shorter template, or a model with a longer context window",
            )
        return prompt

    def answer_ids(self, text: str) -> tuple[int, ...]:
        """The tokens of an answer as they follow a prompt, without the end: for scoring choices."""
        return self._layout.answer(text)

    def said(self, text: str) -> str:
        """What a generated text says, without what a chat template writes before every answer."""
        return self._layout.said(text)

    def stop_strings(self, examples: Iterable[Example]) -> tuple[str, ...]:
        """The texts that end an answer, where worked examples before it show how a text goes on.

        Args:
            examples: whatever stands within one of their answers ends none.
        """
        if self.encoder_decoder:  # the answer is a text of its own, with an end
            return ()
        return self._layout.stop_strings(
            reference for example in examples for reference in example.references
        )

    def training(self, example: Example, *, completions_only: bool) -> TrainingExample:
        """The example with its first reference, as tokens to train on.

        It always ends with the tokenizer's end token. Length is for the caller to judge.

        Args:
            example: the example.
            completions_only: train on the answers alone; if not, on every token but the first.

        Raises:
            DataError: the example has no answer, the tokenizer has no end token, or the chat
                template refuses the conversation.
        """
        if not example.references:
            raise DataError("the example has no answer to train on", where=example.where)
        if self.encoder_decoder:
            return self._encoder_decoder_training(example)
        if example.is_plain_text:
            ids = self._encoder.literal_ids(example.references[0], add_special_tokens=True)
            return TrainingExample(example.id, ids, _all_but_first(ids), prompt_length=0)
        return self._conversation_training(example, completions_only)

    def length(self, example: Example) -> int:
        """Tokens of the example, prompt and answer."""
        return self.training(example, completions_only=False).length

    def _conversation_training(self, example: Example, completions_only: bool) -> TrainingExample:
        answer = Message("assistant", example.references[0])
        messages = (*self._messages(example), answer)
        ids, trained = self._begin, [False] * len(self._begin)
        prompt_length = 0
        for segment in self._layout.conversation(messages, example.where):
            if segment.is_answer:
                prompt_length = len(ids)
            piece = self._layout.ids(segment.text)
            ids += piece
            trained += [segment.is_answer] * len(piece)
        end = self._end(example.where)
        if ids[-1:] != (end,):
            ids += (end,)
            trained.append(True)
        mask = tuple(trained) if completions_only else _all_but_first(ids)
        return TrainingExample(example.id, ids, mask, prompt_length)

    def _encoder_decoder_training(self, example: Example) -> TrainingExample:
        if example.is_plain_text:
            raise DataError(
                "an encoder-decoder model cannot be trained on plain text",
                where=example.where,
                fix="give examples with a prompt and a completion, or use a decoder-only model",
            )
        segments = self._layout.question(self._messages(example), example.where)
        ids = self._prompt(segments).ids
        answer = (*self.answer_ids(example.references[0]), self._end(example.where))
        return TrainingExample(example.id, ids, (False,) * len(ids), len(ids), answer)

    def _prompt(self, segments: list[Segment]) -> Prompt:
        text = "".join(self._layout.show(segment.text) for segment in segments)
        if self.encoder_decoder:
            # The end of the question is marked by the tokenizer's own end token.
            text = text.rstrip()
            return Prompt(self._encoder.literal_ids(text, add_special_tokens=True), text)
        pieces = (self._layout.ids(segment.text) for segment in segments)
        return Prompt(self._begin + tuple(token for piece in pieces for token in piece), text)

    def _messages(self, example: Example) -> tuple[Message, ...]:
        if self.system is None or example.messages[0].role == "system":
            return example.messages
        return (Message("system", self.system), *example.messages)

    def _end(self, where: str) -> int:
        end = self.tokenizer.eos_token_id
        if end is None:
            raise DataError(
                "the tokenizer has no end-of-text token, so answers could not be taught to end",
                where=where,
                fix="set eos_token in the model's tokenizer_config.json",
            )
        return end

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(self.tokenizer)

    @cached_property
    def _layout(self) -> Layout:
        if self.use_chat_template:
            return ChatLayout(self.tokenizer, self._encoder)
        separator = "\n" if self.encoder_decoder else self.answer_separator
        return PlainLayout(self._encoder, separator)

    @cached_property
    def _begin(self) -> tuple[int, ...]:
        """The token that begins a plain text, where the tokenizer adds one; chat templates do."""
        if self.use_chat_template:
            return ()
        return self._encoder.begin


def _all_but_first(ids: tuple[int, ...]) -> tuple[bool, ...]:
    return tuple(index > 0 for index in range(len(ids)))
