"""What a metric may need of the answers to a task, and what kinds of task give."""

from __future__ import annotations

from typing import Literal

Need = Literal[
    "answers",
    "choices",
    "likelihoods",
    "lengths",
    "written answers",
    "several answers",
    "sets of answers",
    "extractors",
]
"""What samples may come with: an answer that can be right or wrong; a closed set of answers; the
log-probability of what was scored; the length of a text; an answer that the model wrote freely;
several answers to each question; what several answers are scored as; the answer that was found in
a longer text."""
