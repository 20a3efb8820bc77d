"""The record of how a run asks its questions."""

from __future__ import annotations

from pydantic import Field

from luthier.core.example import Example
from luthier.records.base import Record
from luthier.records.evaluation import TemplateStamp


class PromptingRecord(Record):
    """``prompting.json``: with ``task.yaml``, all that makes the run's prompts from rows.

    It stands for the training data, so that a run can be used where its data is missing.

    Attributes:
        template: the stamp of the task and the chat template.
        format: the format of the rows, as in ``data.format``; ``table``: the task renders them.
        chooses: whether answers are chosen among given choices by likelihood.
        max_new_tokens: the maximum length of a generated answer.
        shots: the few-shot examples before each question.
        stop: the stop strings after prompts with few-shot examples, in plain text.
        chat_template: the user's own chat template; empty: that of the tokenizer.
    """

    template: TemplateStamp
    format: str
    chooses: bool = False
    max_new_tokens: int = Field(default=32, ge=1)
    shots: tuple[Example, ...] = ()
    stop: tuple[str, ...] = ()
    chat_template: str = ""
