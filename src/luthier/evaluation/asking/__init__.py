"""Evaluation of benchmark tasks: loading with metrics, preparation, and requests to a model.

Each kind of task registers its functions when its module is imported here.
"""

from luthier.evaluation.asking import generation, likelihood, text
from luthier.evaluation.asking.checked import load_task, select_tasks

__all__ = ["generation", "likelihood", "load_task", "select_tasks", "text"]
