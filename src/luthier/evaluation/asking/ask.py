"""Asking a model all questions of a task: one function, with a way for each kind of task."""

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
"""Shows what is done and how far, over so many questions or requests."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model answered to the questions of a task.

    Attributes:
        samples: in the order of the questions, without scores.
        prompt_tokens: tokens of all contexts.
        generated_tokens: tokens that the model made.
        cut_prompts: contexts that lost their beginning, because they did not fit.
        cut_answers: generated answers that had not ended at the limit.
        fewer_shots: questions with fewer worked examples than the others.
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
    """Ask all questions of a task at once, and say what was answered.

    Raises:
        DataError: a question does not fit into the model's context window.
    """
    raise NotImplementedError(f"nobody asks tasks like {task.name}")


@singledispatch
def fits(task: Task, question: Question, encoder: TaskEncoder[Any]) -> bool:
    """Whether the model takes a question of a task with its answer."""
    raise NotImplementedError(f"nobody asks tasks like {task.name}")
