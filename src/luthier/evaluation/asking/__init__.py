"""Tasks at work: loaded with their metrics, prepared, and asked. Each kind registers here."""

from luthier.evaluation.asking import generation, likelihood, text
from luthier.evaluation.asking.checked import load_task, select_tasks

__all__ = ["generation", "likelihood", "load_task", "select_tasks", "text"]
