"""The rendering of examples as tokens, shared by training, evaluation and serving."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from luthier.config.prompt import AnswersTrained, PromptConfig, Reasoning
from luthier.core.errors import DataError, UsageError
from luthier.core.example import Example, Message
from luthier.prompts.answers import AnswerReader
from luthier.prompts.chat import ChatLayout
from luthier.prompts.chat_files import read_own_template, require_usable, template_place
from luthier.prompts.dialect import Dialect
from luthier.prompts.layouts import Layout, PlainLayout
from luthier.prompts.masks import Masks
from luthier.prompts.plain_text import PlainText
from luthier.prompts.prompt import TokenPrompt
from luthier.prompts.reasoning import KNOWN_TAGS, inline, thought_of
from luthier.prompts.tokens import Encoder, Tokenizer
from luthier.prompts.training_example import TrainingExample
from luthier.prompts.turns import asked_turns, with_reasoning
from luthier.prompts.written import Written


class PromptTooLongError(DataError):
    """A prompt leaves no room for its answer in the context window."""


@dataclass(frozen=True)  # no slots: they exclude cached properties
class PromptRenderer:
    """Renders examples for one tokenizer.

    Attributes:
        tokenizer: the model's tokenizer.
        use_chat_template: whether to write conversations with a chat template.
        system: a system message for conversations that have none.
        context_window: the model's context window in tokens, the answer included (for
            encoder-decoder models, the limit of the encoder's input).
        encoder_decoder: whether an encoder reads the prompt; chat templates do not apply then.
        answer_separator: the text between question and answer in plain text. Its trailing spaces
            are tokenised with the answer.
        own_template: a chat template to use instead of the tokenizer's.
        template_file: the file of the chat template, for error messages.
        template_values: further arguments of the chat template.
        keep_special: whether rows may spell out special tokens.
        train_on: the answers of a conversation that are trained.
        reasoning: whether the reasoning before an answer is trained, kept, or dropped.

    Raises:
        DataError: a chat template is wanted and the tokenizer has none.
    """

    tokenizer: Tokenizer
    use_chat_template: bool
    system: str | None
    context_window: int
    encoder_decoder: bool
    answer_separator: str = "\n"
    own_template: str | None = None
    template_file: str = ""
    template_values: Mapping[str, Any] = field(default_factory=dict)
    keep_special: bool = False
    train_on: AnswersTrained = "all-answers"
    reasoning: Reasoning = "train"

    def __post_init__(self) -> None:
        has_template = bool(self.own_template or self.tokenizer.chat_template)
        if self.use_chat_template and not has_template:
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
        """The renderer that a configuration asks for.

        Raises:
            DataError: the chat template cannot be read, is empty, or is not valid Jinja.
        """
        own = read_own_template(config.chat_template)
        has_template = tokenizer.chat_template not in (None, {}) and not encoder_decoder
        uses_template = config.chat_template != "never" and (own is not None or has_template)
        if uses_template:
            require_usable(tokenizer, own, config.chat_template)
        return cls(
            tokenizer=tokenizer,
            use_chat_template=uses_template,
            system=config.system,
            context_window=context_window,
            encoder_decoder=encoder_decoder,
            own_template=own,
            template_file=template_place(tokenizer, own, config.chat_template),
            template_values=config.chat_template_kwargs,
            keep_special=config.special_tokens == "keep",
            train_on=config.train_on,
            reasoning=config.reasoning,
        )

    def with_template(self, text: str, where: str) -> PromptRenderer:
        """A renderer with another chat template.

        Args:
            text: the chat template.
            where: its file, for errors.

        Raises:
            DataError: the chat template is not valid.
        """
        require_usable(self.tokenizer, text, where)
        return replace(self, use_chat_template=True, own_template=text, template_file=where)

    def within(self, context_window: int | None) -> PromptRenderer:
        """A renderer with another context window; None keeps the current one."""
        return self if context_window is None else replace(self, context_window=context_window)

    def with_reserved_positions(self, positions: int) -> PromptRenderer:
        """A renderer whose context window is ``positions`` tokens smaller."""
        return replace(self, context_window=self.context_window - positions)

    def tokenised(self) -> PromptRenderer:
        """This renderer, because it produces tokens already."""
        return self

    def prompt(self, example: Example, *, answer_tokens: int = 0) -> TokenPrompt:
        """The prompt of an example, as tokens.

        Args:
            example: the question; its references are ignored.
            answer_tokens: the room to reserve for the answer.

        Raises:
            PromptTooLongError: there is no room for the answer.
            DataError: the chat template refuses the prompt or omits a part of it, or the example
                is plain text.
        """
        return self.fitting(example, self.question(example), answer_tokens)

    def question(self, example: Example) -> str:
        """The text of a prompt, marked up; see `prompt`."""
        if example.is_plain_text:
            raise DataError("plain text has no prompt", where=example.where)
        return self.layout.question(self.asked(example), example.tools, example.where)

    def fitting(self, example: Example, text: str, answer_tokens: int) -> TokenPrompt:
        """The prompt with this text, if it leaves room for the answer; see `prompt`."""
        prompt = self._prompt(text)
        room = self.context_window - (0 if self.encoder_decoder else answer_tokens)
        if len(prompt.ids) > room:
            left = (
                f"there is room for {room}"
                if room > 0
                else f"answers of {answer_tokens} leave none"
            )
            raise PromptTooLongError(
                f"the prompt has {len(prompt.ids)} tokens, and {left} in a context window of "
                f"{self.context_window}",
                where=example.where,
                fix="use fewer shots, a shorter template, or a model with a longer context window; "
                "evaluate.too_long=drop leaves such test examples out",
            )
        return prompt

    def marked_ids(self, text: str) -> tuple[int, ...]:
        """The tokens of a text from `question`, with the BOS token that plain text may have."""
        return self._masks.tokens(text).ids

    def answer_ids(self, text: str) -> tuple[int, ...]:
        """The tokens of an answer after a prompt, without the end token, to score choices."""
        if self.encoder_decoder:
            return self.encoder.literal_ids(text)
        return self.layout.answer(text)

    @cached_property
    def reader(self) -> AnswerReader:
        """The reader that finds the answer in a generated text."""
        return self.layout.reader

    def stop_strings(self, examples: Iterable[Example]) -> tuple[str, ...]:
        """The stop strings for prompts with shots, after which a model may go on with more turns.

        Args:
            examples: a text that occurs in one of their answers is no stop string.
        """
        if self.encoder_decoder:  # the answer is a text of its own, with an end
            return ()
        return self.layout.stop_strings(
            reference for example in examples for reference in example.references
        )

    def training(self, example: Example, *, completion_only_loss: bool) -> TrainingExample:
        """The last of `trainings`, which ends with the example's first reference."""
        return self.trainings(example, completion_only_loss=completion_only_loss)[-1]

    def trainings(
        self, example: Example, *, completion_only_loss: bool
    ) -> tuple[TrainingExample, ...]:
        """The example with its first reference, as tokens and loss masks.

        Each result ends with the tokenizer's end token. The caller checks its length.

        Args:
            example: the example.
            completion_only_loss: train only on the answers; if false, on every token but the first.

        Returns:
            One training example. If the chat template changes earlier turns when a conversation
            goes on, one for each trained answer; their prompts are never trained.

        Raises:
            DataError: the example has no answer, the tokenizer has no end token, or the chat
                template refuses the conversation or omits a part of it.
        """
        return self.made(example, self.written(example), completion_only_loss)

    def written(self, example: Example) -> tuple[Written, ...]:
        """The conversation as texts; empty if the example is not a conversation.

        Raises:
            DataError: the example has no answer, or the chat template refuses the conversation or
                omits a part of it.
        """
        if not example.references:
            raise DataError("the example has no answer to train on", where=example.where)
        if self.encoder_decoder or example.is_plain_text:
            return ()
        messages = self.answered(example)
        written = self.layout.conversations(messages, example.tools, example.where)
        if self.train_on == "last-answer":
            *earlier, last = written[-1].answers
            untrained = (replace(span, is_trained=False) for span in earlier)
            written = (replace(written[-1], answers=(*untrained, last)),)
        return written

    def made(
        self, example: Example, written: Sequence[Written], completion_only_loss: bool
    ) -> tuple[TrainingExample, ...]:
        """The tokens and loss masks of the texts from `written`; see `trainings`."""
        if self.encoder_decoder:
            return (self._encoder_decoder_training(example),)
        if example.is_plain_text:
            return (self._text_training(example),)
        parts = [part for each in written for part in self._masks.parts(each)]
        made = [self._conversation_training(example, part, completion_only_loss) for part in parts]
        if len(made) == 1:
            return tuple(made)
        return tuple(replace(each, id=f"{each.id}-{n}") for n, each in enumerate(made, start=1))

    def length(self, example: Example) -> int:
        """The number of tokens of the example, prompt and answer."""
        return self.training(example, completion_only_loss=False).length

    def text_ids(self, text: str) -> tuple[int, ...]:
        """The tokens of running text with the tokenizer's special tokens, without a further end."""
        return self.encoder.literal_ids(text, add_special_tokens=True)

    def spelled_tokens(self, example: Example) -> list[str]:
        """The special tokens that an example spells out."""
        turns = (*example.messages, *((example.trained_answer,) if example.references else ()))
        found: list[str] = []
        for turn in turns:
            thought, content = thought_of(turn, KNOWN_TAGS[0])  # its tags are intended
            found += self.encoder.spelled(thought.reasoning) + self.encoder.spelled(content)
        return found

    @property
    def default_system(self) -> str:
        """The chat template's default system message; empty if it has none."""
        return self._dialect.default_system if self.use_chat_template else ""

    def _text_training(self, example: Example) -> TrainingExample:
        text = example.references[0]
        end = self.tokenizer.eos_token
        if self.keep_special and end and text.rstrip().endswith(end):
            text = text.rstrip()
        ids = self._ended(self.encoder.literal_ids(text, add_special_tokens=True), example.where)
        return TrainingExample(
            example.id,
            ids,
            _all_but_first(ids),
            prompt_length=0,
            weight=example.weight,
            source=example.source,
        )

    def _conversation_training(
        self, example: Example, written: Written, completion_only_loss: bool
    ) -> TrainingExample:
        """A conversation as tokens of the whole text, with a loss mask from its answers' places."""
        masked = self._masks.mask(written)
        ids = self._ended(masked.ids, example.where)
        added = len(ids) - len(masked.ids)
        trained = (*masked.trained, *(written.answers[-1].is_trained for _ in range(added)))
        if not completion_only_loss and written.trains_prompt:
            withheld = (*masked.withheld, *(False for _ in range(added)))
            trained = tuple(not held for held in withheld)
        return TrainingExample(
            example.id,
            ids,
            (False, *trained[1:]),
            prompt_length=masked.prompt_length,
            weight=example.weight,
            is_joined=masked.is_joined,
            source=example.source,
        )

    def _encoder_decoder_training(self, example: Example) -> TrainingExample:
        if example.is_plain_text:
            raise DataError(
                "an encoder-decoder model cannot be trained on plain text",
                where=example.where,
                fix="give examples with a prompt and a completion, or use a decoder-only model",
            )
        messages, turn = self.asked(example), with_reasoning(example.trained_answer, self.reasoning)
        ids = self._prompt(self.layout.question(messages, example.tools, example.where)).ids
        answer = self._ended(self.answer_ids(inline(turn)), example.where)
        return TrainingExample(
            example.id,
            ids,
            (False,) * len(ids),
            len(ids),
            answer,
            weight=example.weight,
            source=example.source,
        )

    def _prompt(self, text: str) -> TokenPrompt:
        shown = self.layout.show(text)
        if self.encoder_decoder:
            # The tokenizer's own end token marks the end of the question.
            shown = shown.rstrip()
            return TokenPrompt(self.encoder.literal_ids(shown, add_special_tokens=True), shown)
        return TokenPrompt(self._masks.tokens(text).ids, shown)

    def asked(self, example: Example) -> tuple[Message, ...]:
        """The turns of a prompt, as the layout takes them."""
        return asked_turns(example, self.system, self.reasoning)

    def answered(self, example: Example) -> tuple[Message, ...]:
        """The turns of a conversation that ends with its answer."""
        return (*self.asked(example), with_reasoning(example.trained_answer, self.reasoning))

    def _ended(self, ids: tuple[int, ...], where: str) -> tuple[int, ...]:
        """The ids with the end token appended unless it is there already."""
        end = self._end(where)
        return ids if ids[-1:] == (end,) else (*ids, end)

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
    def encoder(self) -> Encoder:
        """The encoder of texts as tokens."""
        return Encoder(self.tokenizer, keep_special=self.keep_special)

    @cached_property
    def _dialect(self) -> Dialect:
        return Dialect(self.tokenizer, self.own_template, self.template_values, self.template_file)

    @cached_property
    def layout(self) -> Layout:
        """The layout of conversations."""
        if self.use_chat_template:
            return ChatLayout(self._dialect, self.encoder, self.tokenizer.eos_token or "")
        separator = "\n" if self.encoder_decoder else self.answer_separator
        return PlainLayout(self.encoder, PlainText(separator))

    @cached_property
    def _masks(self) -> Masks:
        return Masks(self.layout, self.encoder, self._begin, self.reasoning == "train")

    @cached_property
    def _begin(self) -> tuple[int, ...]:
        """The BOS token for plain text; empty with chat templates, which write their own."""
        return () if self.use_chat_template else self.encoder.begin


def _all_but_first(ids: tuple[int, ...]) -> tuple[bool, ...]:
    return tuple(index > 0 for index in range(len(ids)))
