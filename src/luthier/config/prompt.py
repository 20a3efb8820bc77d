"""Prompt settings: template, chat template and shots."""

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
        raise ValueError(f"should be auto, never, or a file ending in {names}")
    return value


def _free_arguments(values: Mapping[str, Any]) -> Mapping[str, Any]:
    if taken := sorted(_OWN_ARGUMENTS & set(values)):
        raise ValueError(f"{', '.join(taken)}: set by Luthier and cannot be given here")
    return values


class PromptConfig(Config):
    """The template and the shots."""

    template: Annotated[str | None, NAMES_FILE] = None
    """A template of the library, or a YAML file. None: the task's own, or none."""
    chat_template: Annotated[str, AfterValidator(_known_template), NAMES_FILE] = "auto"
    """auto: the tokenizer's chat template, if any. never: plain text. Otherwise a file of your own,
    such as mine.jinja, which replaces the tokenizer's."""
    chat_template_kwargs: Annotated[Mapping[str, Any], AfterValidator(_free_arguments)] = Field(
        default_factory=dict
    )
    """Arguments of the chat template, such as {enable_thinking: false}."""
    special_tokens: Literal["text", "keep"] = "text"
    """Special tokens spelled out in rows, such as <|im_end|>. text: encoded as ordinary characters,
    so that no row can end its turn or imitate another role. keep: encoded as the tokens; only for
    trusted rows."""
    train_on: AnswersTrained = "all-answers"
    """The trained answers of a conversation: all, or the last one only."""
    reasoning: Reasoning = "train"
    """Reasoning before an answer, in a separate field or in <think> tags. train: trained like the
    answer. keep: part of the input, but not trained. drop: removed. Evaluation always ignores
    it."""
    system: str | None = None
    """A system message for conversations that have none."""
    shots: int = Field(default=0, ge=0)
    """Number of shots (worked examples) before the question, in evaluate and prompt."""
    few_shots: int = Field(default=3, ge=2)
    """Number of shots in the few-shot rung of adapt."""
