"""Generic functions that ask a model a task's questions, with one method per kind of task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from luthier.core.console import ProgressCallback
from luthier.evaluation.asking.encode import TaskEncoder
from luthier.inference import Engine
from luthier.records.evaluation import SampleRecord
from luthier.tasks.item import Question
from luthier.tasks.task import Task

Progress = Callable[[str, float], AbstractContextManager[ProgressCallback]]
"""Opens a progress display, given its label and the total of questions or requests."""


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's answers to the questions of a task.

    Attributes:
        samples: the sample records in the order of the questions, without scores.
        prompt_tokens: the number of tokens in all contexts.
        generated_tokens: the number of generated tokens.
        cut_prompts: the number of prompts that were truncated from the left to fit.
        cut_answers: the number of generated answers that were cut at the token limit.
        fewer_shots: the number of questions with fewer few-shot examples than the others.
    """

    samples: tuple[SampleRecord, ...]
    prompt_tokens: int
    generated_tokens: int = 0
    cut_prompts: int = 0
    cut_answers: int = 0
    fewer_shots: int = 0


@singledispatch
def ask(
    task: Task,
    engine: Engine,
    encoder: TaskEncoder[Any],
    questions: Sequence[Question],
    progress: Progress,
) -> Answers:
    """Ask a model all questions of a task at once, and return its answers.

    Raises:
        DataError: a question does not fit into the model's context window.
    """
    raise NotImplementedError(f"nobody asks tasks like {task.name}")


@singledispatch
def fits(task: Task, question: Question, encoder: TaskEncoder[Any]) -> bool:
    """True if a question fits into the context window together with its answer."""
    raise NotImplementedError(f"nobody asks tasks like {task.name}")
