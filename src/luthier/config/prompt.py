"""How examples become prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from luthier.config.base import Config
from luthier.config.permission import NAMES_FILE

AnswersTrained = Literal["all-answers", "last-answer"]
Reasoning = Literal["train", "keep", "drop"]

_TEMPLATE_FILES = (".jinja", ".jinja2", ".j2")
_OWN_ARGUMENTS = frozenset(
    {
        "add_generation_prompt", "chat_template", "continue_final_message", "conversation",
        "conversations", "max_length", "messages", "padding", "return_assistant_tokens_mask",
        "return_dict", "return_tensors", "sanitize_control_tokens", "tokenize", "tokenizer_kwargs",
        "tools", "truncation",
    }
)  # fmt: skip


def _known_template(value: str) -> str:
    if value not in ("auto", "never") and not value.endswith(_TEMPLATE_FILES):
        names = ", ".join(_TEMPLATE_FILES)
        raise ValueError(f"this is auto, never, or a file whose name ends in {names}")
    return value


def _free_arguments(values: Mapping[str, Any]) -> Mapping[str, Any]:
    if taken := sorted(_OWN_ARGUMENTS & set(values)):
        raise ValueError(f"{', '.join(taken)}: set by Luthier itself, so it cannot be given here")
    return values


class PromptConfig(Config):
    """The template and the shots."""

    template: Annotated[str | None, NAMES_FILE] = None
    """A template of the library, or a YAML file. None: the task's own, or the rows as they are."""
    chat_template: Annotated[str, AfterValidator(_known_template), NAMES_FILE] = "auto"
    """auto: the tokenizer's chat template where it has one. never: plain text. Else a file of your
    own, such as mine.jinja, which takes the place of the tokenizer's."""
    chat_template_kwargs: Annotated[Mapping[str, Any], AfterValidator(_free_arguments)] = Field(
        default_factory=dict
    )
    """Arguments of the chat template, such as {enable_thinking: false}."""
    special_tokens: Literal["text", "keep"] = "text"
    """What rows mean that spell out special tokens, such as <|im_end|>. text: these characters, so
    that no row can end its turn or speak in another's name. keep: the tokens; for rows you trust.
    """
    train_on: AnswersTrained = "all-answers"
    """Which answers of a conversation are trained: all of them, or the last one only."""
    reasoning: Reasoning = "train"
    """The thinking before an answer, in a field of its own or in <think> tags. train: it is trained
    like the answer. keep: the model reads it, and only the answer is trained. drop: it is left
    out. It never counts where answers are measured."""
    system: str | None = None
    """A system message put before every conversation that has none."""
    shots: int = Field(default=0, ge=0)
    """Worked examples put before the question, in evaluate and prompt."""
    few_shots: int = Field(default=3, ge=2)
    """Worked examples in the few-shot rung of adapt."""
