"""Scores of several answers to one question: pass@k and majority vote."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from luthier.core.errors import DataError, UsageError
from luthier.evaluation.metrics.base import SHARE, Floats, MeanMetric, Metric, Need
from luthier.evaluation.metrics.extracted import ExtractedMatch
from luthier.records.evaluation import SampleRecord

_JUDGE = "exact_match"
_PASS = re.compile(r"(?P<k>[1-9][0-9]{0,5})(?::(?P<judge>.+))?")


class SeveralAnswers(Metric):
    """A mean over questions with several answers each.

    Args:
        name: the name for users.
        judge: scores each answer as right (1) or wrong (0).
    """

    bounds = SHARE

    def __init__(self, name: str, judge: MeanMetric) -> None:
        super().__init__(name)
        self._judge = judge
        self.needs = judge.needs | {"several answers"}

    def measure(self, samples: Sequence[SampleRecord]) -> Floats:
        """Each answer's share of its question's score, and of its question, ``[n, 2]``.

        Raises:
            DataError: an answer belongs to no question, or has another score than 0 or 1.
        """
        right = self._judge.measure(samples)[:, 0]
        if not np.isin(right, (0.0, 1.0)).all():
            raise DataError(
                f"{self.name} needs answers that are right or wrong, but {self._judge.name} gives "
                "other scores too",
                fix="judge by exact_match, em, numeric or match:NAME",
            )
        questions: dict[str, list[int]] = defaultdict(list)
        for place, sample in enumerate(samples):
            if not sample.question_id:
                raise DataError(
                    f"{self.name} scores several answers to a question",
                    where=f"sample {sample.id!r}",
                    fix="draw several with evaluate.samples",
                )
            questions[sample.question_id].append(place)
        rows = np.zeros((len(samples), 2))
        for places in questions.values():
            score = self.score([samples[place] for place in places], right[places])
            rows[places] = score / len(places), 1 / len(places)
        return rows

    def aggregate(self, summed: Floats, count: Floats) -> Floats:
        """The sum of scores over the number of questions."""
        del count
        mean: Floats = summed[..., 0] / summed[..., 1]
        return mean

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The estimator and the judge."""
        return f"{self.name}|{self.estimator}|judge:{self._judge.signature(references)}"

    @property
    @abstractmethod
    def estimator(self) -> str:
        """The estimator of a question's score."""

    @abstractmethod
    def score(self, answers: Sequence[SampleRecord], right: Floats) -> float:
        """The score of a question.

        Args:
            answers: the answers, in the order of sampling.
            right: 1 or 0 for each, ``[answers]``.
        """


class PassAtK(SeveralAnswers):
    """The probability that at least one of k sampled answers is right.

    The unbiased estimator of Chen et al. 2021 (arXiv 2107.03374, equation 1): with c of n answers
    right, 1 - C(n - c, k) / C(n, k) of all sets of k answers contain a right one.
    """

    def __init__(self, name: str, k: int, judge: MeanMetric) -> None:
        super().__init__(name, judge)
        self._k = self.least_answers = k

    @property
    def estimator(self) -> str:
        """See `SeveralAnswers.estimator`."""
        return f"k:{self._k}|estimator:unbiased"

    def score(self, answers: Sequence[SampleRecord], right: Floats) -> float:
        """See `SeveralAnswers.score`.

        Raises:
            DataError: there are fewer than k answers.
        """
        n, c = len(answers), int(right.sum())
        if n < self._k:
            raise DataError(
                f"{self.name} needs {self._k} answers to each question, but there are {n}",
                where=f"sample {answers[0].id!r}",
                fix=f"set evaluate.samples to {self._k} or more",
            )
        return 1 - math.comb(n - c, self._k) / math.comb(n, self._k)


class Majority(SeveralAnswers):
    """1 if the most frequent answer is right: self-consistency.

    Wang et al. 2022 (arXiv 2203.11171). Two answers are equal if the judge accepts either as the
    other. Of equally frequent answers the one sampled first counts.
    """

    share_columns = (0, 1)

    @property
    def estimator(self) -> str:
        """See `SeveralAnswers.estimator`."""
        return "vote:most-frequent|ties:first-drawn"

    def score(self, answers: Sequence[SampleRecord], right: Floats) -> float:
        """See `SeveralAnswers.score`."""
        votes: list[list[int]] = []
        for place, answer in enumerate(answers):
            same = (party for party in votes if self._agree(answers[party[0]], answer))
            if party := next(same, None):
                party.append(place)
            else:
                votes.append([place])
        return float(right[max(votes, key=len)[0]])

    def _agree(self, first: SampleRecord, second: SampleRecord) -> bool:
        if isinstance(self._judge, ExtractedMatch):
            return self._judge.found(first) == self._judge.found(second)
        asked = second.model_copy(update={"references": (first.prediction,)})
        return bool(self._judge.measure([asked])[0, 0])


def pass_at(argument: str = "") -> PassAtK:
    """The metric for ``K`` or ``K:JUDGE``.

    Raises:
        UsageError: K is not a number of at least 1, or the judge does not score right or wrong.
    """
    given = _PASS.fullmatch(argument)
    if not given:
        raise UsageError(
            "pass@k needs the number of answers to try",
            fix="write pass@K or pass@K:JUDGE, such as pass@5:numeric:last",
        )
    return PassAtK(f"pass@{argument}", int(given["k"]), _judge(given["judge"] or _JUDGE))


def majority(argument: str = "") -> Majority:
    """The metric with the judge named in the argument.

    Raises:
        UsageError: the judge does not score right or wrong.
    """
    return Majority(f"majority:{argument}" if argument else "majority", _judge(argument or _JUDGE))


def _judge(name: str) -> MeanMetric:
    from luthier.evaluation.metrics.registry import get_metric

    metric = get_metric(name)
    judged: set[Need] = {"answers", "written answers", "extractors"}
    if not isinstance(metric, MeanMetric) or not metric.needs <= judged:
        raise UsageError(
            f"{name} does not score single answers as right or wrong",
            fix="judge by exact_match, em, numeric or match:NAME",
        )
    return metric
