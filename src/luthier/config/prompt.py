"""How examples become prompts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from luthier.config.base import Config


class PromptConfig(Config):
    """The template and the shots."""

    template: str | None = None
    """A template of the library, or a YAML file. None: the task's own, or the rows as they are."""
    chat_template: Literal["auto", "never"] = "auto"
    """auto: the tokenizer's chat template where it has one."""
    system: str | None = None
    """A system message put before every conversation that has none."""
    shots: int = Field(default=0, ge=0)
    """Worked examples put before the question, in evaluate and prompt."""
    few_shots: int = Field(default=3, ge=2)
    """Worked examples in the few-shot rung of adapt."""
