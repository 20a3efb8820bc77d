"""Simulate ladders of six rungs, choose a rung of each, and store how good the choices are.

    python benchmarks/recommendation.py [LADDERS] [PROCESSES]

Each rung is right on a known share of the examples, and rungs mostly agree: an example is as hard
for one as for another, up to a part of their own. Settings: no rung is better; every rung is
better by 0.03, 0.04 or 0.06; one good rung early or late; the cheapest is the best. With 64 and 128
examples, ungrouped and in 7 and 30 groups.

For each: *false upgrades*, a step to a rung that is not better (aim: at most 5 %); *regret*, how
far the chosen rung is behind the best (aim: at most 0.055 on staircases of 64 ungrouped examples);
and *passed over*, a dearer rung that beats the chosen one with p < 0.01 in the test of the two by
itself (aim: at most 2 %). Beside it the rule that Luthier had before: each rung against the best
cheaper one, with Holm's correction.

Results: benchmarks/results/<date>-recommendation.json and .md.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

from common import provenance, store, table
from luthier.context.manifest import hardware, versions
from luthier.evaluation.comparison.choice import choose_rung
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.statistics.bootstrap import Resampling, Units
from luthier.evaluation.statistics.significance import (
    approximate_randomisation,
    difference_figure,
    holm,
    mcnemar,
)
from luthier.evaluation.statistics.stepdown import gain_p_values
from luthier.records.comparison import Comparison

_RUNGS = tuple(f"rung {number}" for number in range(6))
_METRIC = get_metric("exact_match")
_ALPHA = 0.05
_STEP = np.arange(6)
_SHARES: Mapping[str, Any] = {
    "none is better": np.full(6, 0.4),
    "staircase of 0.03": 0.4 + 0.03 * _STEP,
    "staircase of 0.04": 0.4 + 0.04 * _STEP,
    "staircase of 0.06": 0.4 + 0.06 * _STEP,
    "one good rung early": np.where(_STEP == 1, 0.6, 0.4),
    "all good after the first": np.where(_STEP >= 1, 0.6, 0.4),
    "one good rung late": np.where(_STEP == 5, 0.6, 0.4),
    "the cheapest is the best": np.where(_STEP == 0, 0.6, 0.4),
}


class Setting(NamedTuple):
    """A kind of ladder.

    Attributes:
        name: of the shares of right answers.
        examples: how many there are.
        groups: in so many groups of one size; 0: none.
        agreement: the share of an example's difficulty that all rungs have in common.
    """

    name: str
    examples: int
    groups: int
    agreement: float


def main(arguments: list[str]) -> None:
    """Simulate and store."""
    ladders = int(arguments[0]) if arguments else 2000
    processes = int(arguments[1]) if len(arguments) > 1 else 2
    settings = [
        Setting(name, examples, groups, agreement)
        for agreement in (0.98, 0.95, 0.8)
        for examples in (64, 128)
        for groups in (0, 7, 30)
        for name in _SHARES
        if agreement > 0.8 or (examples, groups) == (64, 0)
    ]
    with ProcessPoolExecutor(processes) as pool:
        measured = list(pool.map(_measure, settings, [ladders] * len(settings)))
    command = ["benchmarks/recommendation.py", str(ladders)]
    document = provenance(command, hardware(), versions()) | {
        "ladders": ladders,
        "measured": measured,
    }
    store("recommendation", document, _markdown(document))


def _measure(setting: Setting, ladders: int) -> dict[str, Any]:
    generator = np.random.default_rng([len(setting.name), *map(ord, str(setting))])
    truth = np.asarray(_SHARES[setting.name], dtype=float)
    totals = {"now": np.zeros(4), "before": np.zeros(4)}
    for seed in range(ladders):
        scores, groups = _answers(setting, truth, generator)
        resampling = Resampling(seed, 1000, 0.95)
        pairs = _Pairs(scores, groups, resampling)
        for rule, path in (("now", pairs.path()), ("before", pairs.path_before())):
            chosen = path[-1]
            totals[rule] += [
                any(truth[b] <= truth[a] for a, b in pairwise(path)),
                truth.max() - truth[chosen],
                any(pairs.beats(chosen, dearer) for dearer in range(chosen + 1, 6)),
                chosen,
            ]
    names = ("false_upgrades", "regret", "passed_over", "rung")
    rates = {
        rule: dict(zip(names, (total / ladders).tolist(), strict=True))
        for rule, total in totals.items()
    }
    return {**setting._asdict(), **rates}


def _answers(
    setting: Setting, truth: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, list[str]]:
    """Right or wrong, ``[examples, rungs]``; a fifth of what is common is the group's."""
    n, common = setting.examples, setting.agreement
    hard = generator.normal(size=n)
    groups = [""] * n
    if setting.groups:
        members = np.arange(n) % setting.groups
        of_group = generator.normal(size=setting.groups)[members]
        hard = math.sqrt(0.2) * of_group + math.sqrt(0.8) * hard
        groups = [str(member) for member in members]
    own = generator.normal(size=(n, len(truth)))
    latent = math.sqrt(common) * hard[:, None] + math.sqrt(1 - common) * own
    return (latent < norm.ppf(truth)).astype(float), groups


class _Pairs:
    """What the tests say of one ladder."""

    def __init__(self, scores: np.ndarray, groups: list[str], resampling: Resampling) -> None:
        self._columns = [scores[:, [rung]] for rung in range(scores.shape[1])]
        self._means = scores.mean(axis=0)
        self._groups, self._resampling = groups, resampling
        self._p: dict[tuple[int, int], float] = {}

    def path(self) -> list[int]:
        """Luthier's choices, the first to the last."""
        stats = dict(zip(_RUNGS, self._columns, strict=True))
        adjusted = gain_p_values(_METRIC, stats, self._resampling, self._groups)

        def compare(cheaper: str, dearer: str) -> Comparison:
            a, b = _RUNGS.index(cheaper), _RUNGS.index(dearer)
            difference = float(self._means[b] - self._means[a])
            return Comparison.model_construct(
                baseline=cheaper, difference=difference, p_adjusted=adjusted[cheaper, dearer]
            )

        choice, gains = choose_rung(_RUNGS, _METRIC, compare, _ALPHA)
        path = [_RUNGS.index(choice)]
        while path[0]:
            path.insert(0, _RUNGS.index(gains[_RUNGS[path[0]]].over))
        return path

    def path_before(self) -> list[int]:
        """The rule of before: the last rung with a real gain over the best cheaper one."""
        over = [int(np.argmax(self._means[:rung])) for rung in range(1, 6)]
        adjusted = holm([self.p(a, b) for a, b in zip(over, range(1, 6), strict=True)])
        path = [0]
        for rung, (cheaper, p) in enumerate(zip(over, adjusted, strict=True), start=1):
            better = self._means[rung] > max(self._means[cheaper], self._means[path[-1]])
            if p < _ALPHA and better:
                path.append(rung)
        return path

    def beats(self, cheaper: int, dearer: int) -> bool:
        """Whether a dearer rung is better with p < 0.01, the two tested by themselves."""
        better = self._means[dearer] > self._means[cheaper]
        return bool(better) and self.p(cheaper, dearer) < 0.01

    def p(self, a: int, b: int) -> float:
        """The two-sided p-value of two rungs."""
        if (a, b) not in self._p:
            one, other = self._columns[a], self._columns[b]
            if any(self._groups):
                units = Units.of(np.hstack([one, other]), self._groups)
                figure = difference_figure(_METRIC)
                p = approximate_randomisation(units, figure, self._resampling)
            else:
                p = mcnemar(one[:, 0], other[:, 0])
            self._p[a, b] = p
        return self._p[a, b]


def _markdown(document: dict[str, Any]) -> str:
    rows = [
        [
            row["name"],
            str(row["examples"]),
            str(row["groups"] or "–"),
            f"{row['agreement']:g}",
            *(
                f"{row[rule][name]:.3f}"
                for rule in ("now", "before")
                for name in ("false_upgrades", "regret", "passed_over")
            ),
            f"{row['now']['rung']:.1f}",
        ]
        for row in document["measured"]
    ]
    headings = ["ladder", "examples", "groups", "agreement", "false", "regret", "passed over"]
    headings += ["false (before)", "regret (before)", "passed over (before)", "mean rung"]
    return "\n".join(
        [
            "# Recommendations of simulated ladders",
            "",
            f"{document['ladders']:,} ladders of six rungs a row; family-wise level {_ALPHA:g}.",
            "",
            *table(headings, rows),
            "",
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
