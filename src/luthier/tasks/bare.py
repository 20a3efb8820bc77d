"""The task that a bare file of data is, or a data set of the Hub: one with defaults."""

from __future__ import annotations

from luthier.tasks.generation import GenerationTask

AS_IS = GenerationTask(
    kind="generate",
    name="as-is",
    prompt="{{ prompt }}",
    completion="{{ completion }}",
    metrics=("rougeL", "rouge1", "chrf"),
    max_new_tokens=128,
)
"""Rows that are prompts or conversations already; `luthier.data.row_shapes` reads their columns,
whatever they are called."""
