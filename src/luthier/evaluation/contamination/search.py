"""Test examples contained in the training data, and the score without them.

An example is contaminated if 13 consecutive words occur in a training text or, for a shorter
example, all of its words do (Brown et al. 2020, arXiv 2005.14165, section 4). Words are compared
ignoring case and punctuation. Examples of fewer than 8 words are not checked: below the smallest n
of that paper (appendix C) texts share words by chance.

An n-gram shared by more than a tenth of the examples belongs to the frame of their prompts, such as
an instruction, and is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from luthier.core.example import Example
from luthier.evaluation.contamination.overlap import Owned, RunTable, index_runs, meet_texts
from luthier.evaluation.runner import measure
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.task import Evaluation, EvaluationTask
from luthier.inference.engine import ProgressCallback, ignore_progress
from luthier.records.contamination import ContaminatedExample, Contamination
from luthier.records.evaluation import EvaluationRecord

_LEAST_WORDS = 8
_FRAME_SHARE = 0.1
_FRAME_EXAMPLES = 2  # an n-gram shared by this few is never a frame


class _Shared(NamedTuple):
    """A text, its n-grams, those that were found, and the location of one."""

    text: int
    runs: int
    shared: int
    where: str


def example_text(example: Example) -> str:
    """Question and references, as used in the search."""
    return "\n".join([*(message.content for message in example.messages), *example.references])


def find_contamination(
    train: Iterable[tuple[str, str]],
    test: Sequence[tuple[str, str]],
    words: int = 13,
    advance: ProgressCallback = ignore_progress,
) -> Contamination:
    """The test texts that share ``words`` words in a row with a training text.

    Args:
        train: location and text of each training example; may be a stream.
        test: id and text of each test example.
        words: the n of the n-grams.
        advance: called with the number of training texts searched.
    """
    indexed = index_runs([text for _, text in test], words, min(_LEAST_WORDS, words))
    seen = 0
    for passed in meet_texts([table for table, _ in indexed], train):
        advance(passed)
        seen += passed
    telling = [(table, _without_frame(owned, len(test))) for table, owned in indexed]
    return Contamination(
        words=words,
        train=seen,
        checked=sum(len(np.unique(owned.texts_P)) for _, owned in telling),
        test=len(test),
        examples=tuple(
            ContaminatedExample(
                id=test[row.text][0], runs=row.runs, shared=row.shared, where=row.where
            )
            for row in _shared(telling)
        ),
    )


def with_clean_part(
    evaluation: Evaluation,
    task: EvaluationTask,
    contamination: Contamination | None,
    resampling: Resampling,
) -> Evaluation:
    """The evaluation with its metrics on the clean examples added.

    If no example is contaminated, or none is clean, nothing is added.
    """
    dirty = {example.id for example in contamination.examples} if contamination else set()
    clean = [
        sample for sample in evaluation.samples if (sample.question_id or sample.id) not in dirty
    ]
    if not clean or len(clean) == len(evaluation.samples):
        return evaluation
    results = tuple(measure(metric, clean, resampling) for metric in task.load_metrics())
    record: EvaluationRecord = evaluation.record.model_copy(update={"clean": results})
    return Evaluation(record, evaluation.samples)


def _without_frame(owned: Owned, num_texts: int) -> Owned:
    """The n-grams without those that many texts share."""
    most = max(_FRAME_EXAMPLES, _FRAME_SHARE * num_texts)
    kept = np.bincount(owned.runs_P)[owned.runs_P] <= most
    return Owned(owned.texts_P[kept], owned.runs_P[kept])


def _shared(tables: Iterable[tuple[RunTable, Owned]]) -> list[_Shared]:
    """The texts with an n-gram that was found, in order."""
    rows = []
    for table, owned in tables:
        met_P = np.isin(owned.runs_P, np.array(list(table.places), dtype=np.int64))
        num_runs = np.bincount(owned.texts_P)
        met_runs = owned.runs_P[met_P]
        met = np.unique(owned.texts_P[met_P], return_index=True, return_counts=True)
        for text, first, shared in zip(*(part.tolist() for part in met), strict=True):
            place = table.places[int(met_runs[first])]
            rows.append(_Shared(text, int(num_runs[text]), shared, place))
    return sorted(rows)
