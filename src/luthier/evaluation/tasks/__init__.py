"""Benchmark tasks: data, template, choices and metrics as YAML, and the kinds of task there are."""

from luthier.evaluation.tasks.encode import ChatEncoder, TextEncoder
from luthier.evaluation.tasks.item import Document, Question
from luthier.evaluation.tasks.load import Selection, load_task, select_tasks, task_names
from luthier.evaluation.tasks.prepared import PreparedTask, prepare_task
from luthier.evaluation.tasks.sources import MissingDataError
from luthier.evaluation.tasks.suite import Suite, score_suite
from luthier.evaluation.tasks.suite_difference import compare_suite
from luthier.evaluation.tasks.task import Answers, Task

__all__ = [
    "Answers",
    "ChatEncoder",
    "Document",
    "MissingDataError",
    "PreparedTask",
    "Question",
    "Selection",
    "Suite",
    "Task",
    "TextEncoder",
    "compare_suite",
    "load_task",
    "prepare_task",
    "score_suite",
    "select_tasks",
    "task_names",
]
