"""Test examples contained in the training data, and the score without them.

An example is contaminated if 13 consecutive words occur in a training text or, for a shorter
example, all of its words do (Brown et al. 2020, arXiv 2005.14165, section 4). Words are compared
ignoring case and punctuation. Examples of fewer than 8 words are not checked: below the smallest n
of that paper (appendix C) texts share words by chance.

Only words of the rows count: the frame of the prompts, such as an instruction, is cut out (see
`frame`). An n-gram that more than a tenth of the examples share is ignored as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from luthier.core.example import Example
from luthier.evaluation.contamination.frame import row_pieces
from luthier.evaluation.contamination.overlap import (
    Numbers,
    Owned,
    RunTable,
    index_runs,
    meet_texts,
)
from luthier.evaluation.runner import measure
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.evaluation.task import Evaluation, EvaluationTask
from luthier.inference.engine import ProgressCallback, ignore_progress
from luthier.records.contamination import ContaminatedExample, Contamination
from luthier.records.evaluation import EvaluationRecord

_LEAST_WORDS = 8
_COMMON_SHARE = 0.1
_COMMON_EXAMPLES = 2  # an n-gram shared by this few is never ignored


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
    pieces = row_pieces([text for _, text in test], words)
    owners_K = np.repeat(np.arange(len(test)), [len(own) for own in pieces])
    flat = [piece for own in pieces for piece in own]
    indexed = index_runs(flat, words, min(_LEAST_WORDS, words))
    seen = 0
    for passed in meet_texts([table for table, _ in indexed], train):
        advance(passed)
        seen += passed
    telling = [
        (table, _without_common(_of_texts(owned, owners_K), len(test))) for table, owned in indexed
    ]
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


def _of_texts(owned: Owned, owners_K: Numbers) -> Owned:
    """The n-grams of each text, each once, from those of its pieces."""
    pairs = np.unique(np.stack([owners_K[owned.texts_P], owned.runs_P]), axis=1)
    return Owned(pairs[0], pairs[1])


def _without_common(owned: Owned, num_texts: int) -> Owned:
    """The n-grams without those that many texts share."""
    most = max(_COMMON_EXAMPLES, _COMMON_SHARE * num_texts)
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
