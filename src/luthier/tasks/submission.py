"""Predictions in the format of a leaderboard."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from luthier.config.base import Config
from luthier.records.evaluation import SampleRecord
from luthier.tasks.sources import TextKeys

Labels = Mapping[str, str | int]


class Submission(Config):
    """The file of predictions that a leaderboard expects."""

    file: str = Field(pattern=r"^[\w.-]+$")
    """The name of the file."""
    format: Literal["glue", "superglue", "multirc"]
    """The format of the file. glue: TSV of index and prediction. superglue: JSON lines of idx and
    label. multirc: JSON lines of passages, with the labels of the answers to each question."""
    split: str = "test"
    """The split to predict."""
    labels: Annotated[Labels, TextKeys] = Field(default_factory=dict)
    """The leaderboard's labels, by the task's labels; only labels that differ are listed."""

    def text(self, samples: Sequence[SampleRecord]) -> str:
        """The content of the file for the predictions in ``samples``."""
        return _WRITERS[self.format](samples, self.labels)


def _glue(samples: Sequence[SampleRecord], labels: Labels) -> str:
    lines = [f"{sample.id}\t{_label(sample, labels)}" for sample in samples]
    return "\n".join(["index\tprediction", *lines]) + "\n"


def _superglue(samples: Sequence[SampleRecord], labels: Labels) -> str:
    return _lines({"idx": int(s.id), "label": _label(s, labels)} for s in samples)


def _multirc(samples: Sequence[SampleRecord], labels: Labels) -> str:
    """MultiRC's JSON lines, from samples with the ids paragraph/question/answer."""
    passages: dict[int, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        passage, question, answer = map(int, sample.id.split("/"))
        passages[passage][question].append({"idx": answer, "label": _label(sample, labels)})
    return _lines(
        {
            "idx": passage,
            "passage": {
                "questions": [{"idx": q, "answers": answers} for q, answers in questions.items()]
            },
        }
        for passage, questions in passages.items()
    )


def _label(sample: SampleRecord, labels: Labels) -> str | int:
    return labels.get(sample.prediction, sample.prediction)


def _lines(documents: Any) -> str:
    return "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)


_WRITERS: Mapping[str, Callable[[Sequence[SampleRecord], Labels], str]] = {
    "glue": _glue,
    "superglue": _superglue,
    "multirc": _multirc,
}
