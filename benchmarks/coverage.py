"""Measure how often intervals cover the truth in hard cases, and store the table.

    python benchmarks/coverage.py [DRAWS] [PROCESSES]

Shares with 20, 60 and 200 examples, of which 50, 90, 95 and 100 % are right, in groups of 1, 2, 4
and 8 whose examples agree by a third; means of scores that are mostly zero, mostly tied, or
lognormal; differences of two systems that mostly agree; corpus metrics. Aim: an interval of nominal
95 % covers at least 92 % of the time, or the result says that no interval can be given. How often
it says so stands beside.

Results: benchmarks/results/<date>-coverage.json and .md.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from common import provenance, store, table
from luthier.context.manifest import hardware, versions
from luthier.evaluation.metrics import get_metric
from luthier.evaluation.statistics.bootstrap import Resampling, bootstrap_interval
from luthier.evaluation.statistics.significance import paired_test

Draw = Callable[[np.random.Generator, int], np.ndarray]
_SIZES = (20, 60, 200)
_SCORES: dict[str, tuple[str, Draw, float]] = {
    "80 % zeros, else uniform": (
        "rougeL", lambda g, n: np.where(g.random(n) < 0.8, 0, g.random(n)), 0.1,
    ),
    "95 % zeros, else uniform": (
        "rougeL", lambda g, n: np.where(g.random(n) < 0.95, 0, g.random(n)), 0.025,
    ),
    "80 % ties at 0.5": (
        "rougeL", lambda g, n: np.where(g.random(n) < 0.8, 0.5, g.random(n)), 0.5,
    ),
    "skewed, as ROUGE": ("rougeL", lambda g, n: g.beta(0.8, 4, n), 1 / 6),
    "lognormal, σ 0.5": ("words", lambda g, n: g.lognormal(0, 0.5, n), math.exp(0.125)),
    "lognormal, σ 1": ("words", lambda g, n: g.lognormal(0, 1, n), math.exp(0.5)),
    "lognormal, σ 1.5": ("words", lambda g, n: g.lognormal(0, 1.5, n), math.exp(1.125)),
    "normal": ("words", lambda g, n: g.normal(10, 2, n), 10.0),
}  # fmt: skip
_DIFFERENCES: dict[str, tuple[str, Draw, float]] = {
    "0/1, 10 % up and 10 % down": (
        "exact_match", lambda g, n: g.choice([-1, 0, 1], n, p=[0.1, 0.8, 0.1]), 0.0,
    ),
    "0/1, 5 % up and 15 % down": (
        "exact_match", lambda g, n: g.choice([-1, 0, 1], n, p=[0.15, 0.8, 0.05]), -0.1,
    ),
    "0/1, 2 % up": ("exact_match", lambda g, n: g.choice([0, 1], n, p=[0.98, 0.02]), 0.02),
    "80 % ties, else uniform": (
        "rougeL", lambda g, n: np.where(g.random(n) < 0.8, 0, g.random(n) - g.random(n)), 0.0,
    ),
    "80 % ties, else skewed": (
        "words", lambda g, n: np.where(g.random(n) < 0.8, 0, g.exponential(1, n) - 1), 0.0,
    ),
}  # fmt: skip


def main(arguments: list[str]) -> None:
    """Measure and store."""
    draws = int(arguments[0]) if arguments else 1000
    processes = int(arguments[1]) if len(arguments) > 1 else 2
    cases = [
        *(("share", f"{rate:g} right, groups of {size}", n)
          for rate in (0.5, 0.9, 0.95, 1.0) for size in (1, 2, 4, 8) for n in _SIZES),
        *(("mean", name, n) for name in _SCORES for n in _SIZES),
        *(("difference", name, n) for name in _DIFFERENCES for n in _SIZES),
        *(("corpus", name, n) for name in ("f1:1", "matthews", "pearson") for n in _SIZES),
    ]  # fmt: skip
    with ProcessPoolExecutor(processes) as pool:
        # Shares take no resampling, and a row of them is near the aim.
        counts = [draws * (10 if kind == "share" else 1) for kind, _, _ in cases]
        measured = list(pool.map(_measure, cases, counts))
    document = provenance(["benchmarks/coverage.py", str(draws)], hardware(), versions()) | {
        "draws": draws,
        "measured": measured,
    }
    store("coverage", document, _markdown(document))


def _measure(case: tuple[str, str, int], draws: int) -> dict[str, Any]:
    kind, name, n = case
    generator = np.random.default_rng([n, *map(ord, kind + name)])
    covered = missing = contradictions = 0
    width = 0.0
    for seed in range(draws):
        resampling = Resampling(seed, 1000, 0.95)
        low, high, truth, reason, agrees = _KINDS[kind](name, n, generator, resampling)
        covered += not reason and low - 1e-12 <= truth <= high + 1e-12
        missing += bool(reason)
        contradictions += not agrees
        width += high - low
    given = draws - missing
    return {
        "kind": kind,
        "case": name,
        "examples": n,
        "covered_or_none": (covered + missing) / draws,
        "covered": covered / given if given else None,
        "none": missing / draws,
        "width": width / given if given else None,
        "contradictions": contradictions,
    }


_Drawn = tuple[float, float, float, str, bool]


def _share(name: str, n: int, generator: np.random.Generator, resampling: Resampling) -> _Drawn:
    rate, size = float(name.split()[0]), int(name.split()[-1])
    groups = [str(index // size) for index in range(n)]
    rates = np.full(n, rate)
    if size > 1 and rate < 1:
        rates = generator.beta(2 * rate, 2 * (1 - rate), n)[np.arange(n) // size]
    scores = (generator.random(n) < rates).astype(float)[:, None]
    found = bootstrap_interval(get_metric("exact_match"), scores, resampling, groups)
    return found.low, found.high, rate, found.no_interval, True


def _mean(name: str, n: int, generator: np.random.Generator, resampling: Resampling) -> _Drawn:
    metric, draw, truth = _SCORES[name]
    found = bootstrap_interval(get_metric(metric), draw(generator, n)[:, None], resampling)
    return found.low, found.high, truth, found.no_interval, True


def _difference(
    name: str, n: int, generator: np.random.Generator, resampling: Resampling
) -> _Drawn:
    metric, draw, truth = _DIFFERENCES[name]
    moves = draw(generator, n)[:, None].astype(float)
    before = np.clip(-moves, 0, None)
    test = paired_test(get_metric(metric), before, before + moves, resampling)
    agrees = bool(test.no_interval) or (test.low <= 0 <= test.high) == (test.p > 0.05)
    return test.low, test.high, truth, test.no_interval, agrees


def _corpus(name: str, n: int, generator: np.random.Generator, resampling: Resampling) -> _Drawn:
    """Labels of which 30 % are positive, 80 % of them predicted; numbers correlated by 0.6."""
    metric = get_metric(name)
    true = generator.random(n) < 0.3
    predicted = np.where(generator.random(n) < 0.8, true, ~true)
    rows = {
        "f1:1": [predicted & true, predicted, true],
        "matthews": [predicted & true, predicted, true, ~predicted & ~true, ~predicted, ~true],
    }
    if name in rows:
        stats = np.stack(rows[name], axis=1).astype(float)
    else:
        x = generator.normal(size=n)
        y = 0.6 * x + 0.8 * generator.normal(size=n)
        stats = np.stack([x, y, x * x, y * y, x * y], axis=1)
    found = bootstrap_interval(metric, stats, resampling)
    return found.low, found.high, _TRUTHS[name], found.no_interval, True


_KINDS = {"share": _share, "mean": _mean, "difference": _difference, "corpus": _corpus}
_TRUTHS = {
    "f1:1": 2 * 0.24 / (0.3 + 0.38),
    "matthews": (0.24 - 0.38 * 0.3) / math.sqrt(0.38 * 0.62 * 0.3 * 0.7),
    "pearson": 0.6,
}


def _markdown(document: dict[str, Any]) -> str:
    rows = [
        [
            row["kind"],
            row["case"],
            str(row["examples"]),
            f"{row['covered_or_none']:.3f}",
            *(
                "–" if row[key] is None else f"{row[key]:.3f}"
                for key in ("covered", "none", "width")
            ),
            str(row["contradictions"]),
        ]
        for row in document["measured"]
    ]
    headings = ["figure", "case", "examples", "covered, or none given", "covered", "none given"]
    headings += ["mean width", "contradicts its p-value"]
    return "\n".join(
        [
            "# Coverage of intervals in hard cases",
            "",
            f"{document['draws']:,} draws a row (ten times as many for shares), nominal "
            "95 %; the aim is 0.92.",
            "",
            *table(headings, rows),
            "",
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
