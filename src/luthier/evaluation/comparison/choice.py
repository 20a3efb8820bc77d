"""The choice of a rung, with a controlled error rate.

The choice starts with the cheapest rung with usable answers. Going up, a rung becomes the choice if
it is really better than the choice so far. "Really" is decided for all pairs of rungs together
(`evaluate.stepdown`): with probability 1 - alpha no chance gain is called real. So a false upgrade,
a step to a rung that is not better than the previous choice, happens in at most a share alpha of
all ladders, although the comparisons depend on the outcomes.

Rungs are compared with the choice, not with their neighbours or the best-measured one: steps too
small to detect individually add up. `benchmarks/recommendation.py` measures false upgrades and
regret. Choosing the cheapest rung within one standard error of the best one (Breiman, Friedman,
Olshen and Stone 1984, section 3.4.3) had less regret on staircases, but went past the cheapest of
equally good rungs: to the 1.6th of five on average instead of the first (lab/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from luthier.evaluation.metrics import Metric
from luthier.records.comparison import Comparison


def choose_rung(
    names: Sequence[str],
    metric: Metric,
    compare: Callable[[str, str], Comparison],
    alpha: float,
    unusable: Collection[str] = (),
) -> tuple[str, dict[str, Comparison]]:
    """The final choice when going up the ladder, with all comparisons.

    Args:
        names: the rungs, cheapest first; at least one.
        metric: decides the direction of improvement.
        compare: the comparison of a more expensive rung with a cheaper one.
        alpha: the level of the adjusted p-values.
        unusable: rungs that never become the choice, unless all of them are unusable.

    Returns:
        The final choice, and the comparison of each rung except the first with the choice so far;
        up to the first usable rung, with the first rung.
    """
    choice, gains = names[0], {}
    for name in names[1:]:
        gains[name] = compare(choice, name)
        if name in unusable:
            continue
        if choice in unusable or is_real_gain(gains[name], metric, alpha):
            choice = name
    return choice, gains


def is_real_gain(gain: Comparison, metric: Metric, alpha: float) -> bool:
    """Whether the more expensive rung is really better."""
    better = gain.difference > 0 if metric.higher_is_better else gain.difference < 0
    return better and gain.p_adjusted <= alpha
