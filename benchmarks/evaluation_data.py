"""Questions whose answers are scored: MMLU with five shots, LAMBADA, and COPA.

Prompts are those of lm-evaluation-harness 0.4 (its tasks mmlu, mmlu_continuation, lambada_openai
and copa).
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

_LETTERS = "ABCD"
# From short shots to long ones: 260 to 1,600 tokens.
SPREAD_SUBJECTS = (
    "abstract_algebra",
    "anatomy",
    "business_ethics",
    "college_biology",
    "econometrics",
    "global_facts",
    "high_school_physics",
    "management",
    "philosophy",
    "professional_law",
)
# The first by name of those that were at hand.
FIRST_SUBJECTS = (
    "abstract_algebra",
    "anatomy",
    "astronomy",
    "business_ethics",
    "clinical_knowledge",
    "college_biology",
    "computer_security",
    "econometrics",
)


@dataclass(frozen=True, slots=True)
class Question:
    """A text, and what may follow it."""

    context: str
    choices: tuple[str, ...]


def _by_letter(row: Sequence[str]) -> Question:
    """The options are part of the question; their letters may follow it."""
    options = "".join(
        f"\n{letter}. {text}" for letter, text in zip(_LETTERS, row[1:5], strict=True)
    )
    return Question(f"{row[0].strip()}{options}\nAnswer:", tuple(f" {x}" for x in _LETTERS))


def _written_out(row: Sequence[str]) -> Question:
    """The options are not shown; they themselves may follow."""
    return Question(f"Question: {row[0].strip()}\nAnswer:", tuple(f" {x}" for x in row[1:5]))


@dataclass(frozen=True, slots=True)
class Form:
    """How a row of MMLU is asked.

    Attributes:
        name: what lm-evaluation-harness calls such questions at the head of a prompt.
        ask: makes the question.
    """

    name: str
    ask: Callable[[Sequence[str]], Question]


_BY_LETTER = Form("multiple choice questions", _by_letter)
_WRITTEN_OUT = Form("questions", _written_out)


def mmlu_part(root: Path, count: int) -> Iterator[Question]:
    """``count`` questions of each of ten subjects."""
    return _mmlu(root, SPREAD_SUBJECTS, count, _BY_LETTER)


def mmlu_whole(root: Path, count: int) -> Iterator[Question]:
    """All questions of eight subjects, as a user asks them, whatever the count."""
    del count
    return _mmlu(root, FIRST_SUBJECTS, None, _BY_LETTER)


def mmlu_written(root: Path, count: int) -> Iterator[Question]:
    """``count`` questions of each of eight subjects, whose answers are written out."""
    return _mmlu(root, FIRST_SUBJECTS, count, _WRITTEN_OUT)


def _mmlu(
    root: Path,
    subjects: Sequence[str],
    count: int | None,
    form: Form,
) -> Iterator[Question]:
    """Some questions of each subject, after the five examples of its dev file."""
    for subject in subjects:
        head = (
            f"The following are {form.name} (with answers) about {subject.replace('_', ' ')}.\n\n"
        )
        shots = "".join(
            f"{asked.context}{asked.choices[_LETTERS.index(row[5])]}\n\n"
            for row in _rows(root / f"mmlu/dev/{subject}_dev.csv")
            for asked in [form.ask(row)]
        )
        for row in islice(_rows(root / f"mmlu/test/{subject}_test.csv"), count):
            asked = form.ask(row)
            yield Question(head + shots + asked.context, asked.choices)


def lambada(root: Path, count: int) -> Iterator[Question]:
    """The last words of ``count`` passages."""
    path = root / "lambada/lambada_openai.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in islice(lines, count):
            row = json.loads(line)
            yield Question(row["context"], (f" {row['continuation']}",))


def copa(root: Path, count: int) -> Iterator[Question]:
    """What of two comes about, or was the cause, of ``count`` events."""
    with (root / "superglue/COPA/val.jsonl").open(encoding="utf-8") as lines:
        for line in islice(lines, count):
            row = json.loads(line)
            word = {"cause": "because", "effect": "therefore"}[row["question"]]
            choices = tuple(
                f" {text[0].lower()}{text[1:]}" for text in (row["choice1"], row["choice2"])
            )
            yield Question(f"{row['premise'].strip()[:-1]} {word}", choices)


SUITES: dict[str, Callable[[Path, int], Iterator[Question]]] = {
    "mmlu": mmlu_part,
    "mmlu-whole": mmlu_whole,
    "mmlu-written": mmlu_written,
    "lambada": lambada,
    "copa": copa,
}


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))
