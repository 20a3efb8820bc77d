"""Which rung of a ladder to choose, and how sure that is.

The choice begins with the cheapest rung and moves to a dearer one only on evidence:

1. Every dearer rung is tested against every cheaper one, all pairs together (`evaluate.stepdown`),
   so that with probability 1 - alpha no chance gain is called real.
2. Of the dearer rungs that are really better than the choice so far, the best-measured one is
   looked at, and the cheapest that is within one standard error of it becomes the choice (the
   one-standard-error rule of Breiman, Friedman, Olshen and Stone 1984, section 3.4.3).
3. This goes on until no dearer rung is really better than the choice.

So a false upgrade, a step to a rung that is not better than the choice before, happens in at most
a share alpha of all ladders. Steps too small to be seen one by one add up to one that is: rungs are
compared with the choice, not with their neighbours. `benchmarks/recommendation.py` measures false
upgrades and regret.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from luthier.core.records import Comparison
from luthier.evaluate.metrics import Metric


def choice_path(
    names: Sequence[str],
    metric: Metric,
    compare: Callable[[str, str], Comparison],
    alpha: float,
    unusable: Collection[str] = (),
) -> list[str]:
    """The rungs that are chosen one after the other, from the cheapest to the final choice.

    Args:
        names: the rungs, cheapest first; at least one.
        metric: says which direction is better.
        compare: the comparison of a dearer rung with a cheaper one.
        alpha: the level of the adjusted p-values.
        unusable: rungs that no step leads to; the first rung may be one of them.
    """
    sign = 1 if metric.higher_is_better else -1
    path = [names[0]]
    while True:
        choice = path[-1]
        gains = {name: compare(choice, name) for name in names[names.index(choice) + 1 :]}
        better = [
            name
            for name, gain in gains.items()
            if name not in unusable and is_real_gain(gain, metric, alpha)
        ]
        if not better:
            return path
        best = max(better, key=lambda name: sign * gains[name].difference)
        path.append(next(name for name in better if _is_about_as_good(name, best, sign, compare)))


def is_real_gain(gain: Comparison, metric: Metric, alpha: float) -> bool:
    """Whether the dearer rung is really better."""
    better = gain.difference > 0 if metric.higher_is_better else gain.difference < 0
    return better and gain.p_adjusted <= alpha


def _is_about_as_good(
    name: str, best: str, sign: int, compare: Callable[[str, str], Comparison]
) -> bool:
    """Whether a rung that is not dearer than the best one is within a standard error of it."""
    if name == best:
        return True
    behind = compare(name, best)
    return sign * behind.difference <= (behind.standard_error or 0.0)
