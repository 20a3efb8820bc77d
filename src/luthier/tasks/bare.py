"""The default task for a data file or a Hub data set that is given without a task."""

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
"""The task of rows that are already prompts or conversations.

`luthier.data.row_shapes` recognises their columns under any of the usual names.
"""
