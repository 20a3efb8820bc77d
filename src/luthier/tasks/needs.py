"""Properties of samples that metrics may need and tasks may give."""

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
"""A property of samples that a metric may need.

- answers: an answer that can be right or wrong.
- choices: a closed set of answers.
- labels: the task's own names for the choices.
- likelihoods: the log-probabilities of the scored texts.
- lengths: the length of a text, in words and bytes.
- written answers: answers that the model generated freely.
- several answers: several answers to each question.
- sets of answers: a question id that joins the answers that are scored together.
- extractors: answers that were extracted from a longer text.
"""


def written(samples: int) -> frozenset[Need]:
    """The properties of generated answers, with ``samples`` answers to each question."""
    several: set[Need] = {"several answers", "sets of answers"} if samples > 1 else set()
    return frozenset[Need]({"answers", "written answers"}) | several
