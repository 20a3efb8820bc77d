"""What a metric may need of the answers to a task, and what answers come with."""

from __future__ import annotations

from typing import Literal

Need = Literal[
    "answers",
    "choices",
    "labels",
    "likelihoods",
    "lengths",
    "written answers",
    "several answers",
    "sets of answers",
    "extractors",
]
"""What samples may come with: an answer that can be right or wrong; a closed set of answers; the
task's own names for these; the log-probability of what was scored; the length of a text; an answer
that the model wrote freely; several answers to each question; what several answers are scored as;
the answer that was found in a longer text."""


def written(samples: int) -> frozenset[Need]:
    """What answers come with that a model writes, so many to each question."""
    several: set[Need] = {"several answers", "sets of answers"} if samples > 1 else set()
    return frozenset[Need]({"answers", "written answers"}) | several
