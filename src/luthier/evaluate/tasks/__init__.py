"""Benchmark tasks: data, template, choices and metrics as YAML, and the kinds of task there are."""

from luthier.evaluate.tasks.catalog import Selection, load_task, select_tasks, task_names
from luthier.evaluate.tasks.document import Document, Question
from luthier.evaluate.tasks.encode import TextEncoder
from luthier.evaluate.tasks.prepared import PreparedTask, prepare_task
from luthier.evaluate.tasks.sources import MissingDataError
from luthier.evaluate.tasks.suite import Suite, score_suite
from luthier.evaluate.tasks.suite_difference import compare_suite
from luthier.evaluate.tasks.task import Answers, Task

__all__ = [
    "Answers",
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
