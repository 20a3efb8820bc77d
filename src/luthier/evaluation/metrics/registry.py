"""Metrics by name: built-in ones, and those of installed packages.

A package adds a metric through the entry point group ``luthier.metrics``; the entry point names a
callable that returns a `Metric`. The text after a colon in a metric's name is its only argument:
``f1:duplicate`` is the F-measure of the label *duplicate*, and the argument of a text metric is its
options, such as ``rouge1:stem+nfc``. ``pass@5`` is ``pass@k`` with the argument 5. Without a colon
there is no argument.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from luthier.core.errors import LuthierError, UsageError
from luthier.core.names import did_you_mean
from luthier.evaluation.metrics.base import Metric

GROUP = "luthier.metrics"

_PASS_AT = re.compile(r"^pass@(?=[0-9])")

# Entry points too, so that nothing is imported before use.
_BUILT_IN = {
    "rouge1": "luthier.evaluation.metrics.rouge:rouge1",
    "rouge2": "luthier.evaluation.metrics.rouge:rouge2",
    "rougeL": "luthier.evaluation.metrics.rouge:rougeL",
    "rougeLsum": "luthier.evaluation.metrics.rouge:rougeLsum",
    "bleu": "luthier.evaluation.metrics.sacre:bleu",
    "chrf": "luthier.evaluation.metrics.sacre:chrf",
    "chrf++": "luthier.evaluation.metrics.sacre:chrf_plus_plus",
    "exact_match": "luthier.evaluation.metrics.answers:exact_match",
    "accuracy": "luthier.evaluation.metrics.answers:accuracy",
    "acc": "luthier.evaluation.metrics.choices:acc",
    "acc_norm": "luthier.evaluation.metrics.choices:acc_norm",
    "acc_bytes": "luthier.evaluation.metrics.choices:acc_bytes",
    "mc1": "luthier.evaluation.metrics.choices:mc1",
    "mc2": "luthier.evaluation.metrics.choices:mc2",
    "numeric": "luthier.evaluation.metrics.numeric:numeric",
    "ter": "luthier.evaluation.metrics.sacre:ter",
    "ece": "luthier.evaluation.metrics.choices:ece",
    "f1": "luthier.evaluation.metrics.labels:f1",
    "precision": "luthier.evaluation.metrics.labels:precision",
    "recall": "luthier.evaluation.metrics.labels:recall",
    "balanced_accuracy": "luthier.evaluation.metrics.labels:balanced_accuracy",
    "macro_f1": "luthier.evaluation.metrics.labels:macro_f1",
    "matthews": "luthier.evaluation.metrics.labels:matthews",
    "pearson": "luthier.evaluation.metrics.correlation:pearson",
    "spearman": "luthier.evaluation.metrics.correlation:spearman",
    "em": "luthier.evaluation.metrics.squad:em",
    "token_f1": "luthier.evaluation.metrics.squad:token_f1",
    "pass@k": "luthier.evaluation.metrics.several:pass_at",
    "majority": "luthier.evaluation.metrics.several:majority",
    "all_right": "luthier.evaluation.metrics.sets:all_right",
    "parity": "luthier.evaluation.metrics.sets:parity",
    "match": "luthier.evaluation.metrics.extracted:match",
    "distinct": "luthier.evaluation.metrics.open_ended:distinct",
    "words": "luthier.evaluation.metrics.open_ended:words",
    "length_ratio": "luthier.evaluation.metrics.open_ended:length_ratio",
    "greedy_acc": "luthier.evaluation.metrics.likelihood:greedy_acc",
    "perplexity": "luthier.evaluation.metrics.likelihood:perplexity",
    "word_perplexity": "luthier.evaluation.metrics.likelihood:word_perplexity",
    "byte_perplexity": "luthier.evaluation.metrics.likelihood:byte_perplexity",
    "token_perplexity": "luthier.evaluation.metrics.likelihood:token_perplexity",
    "bits_per_byte": "luthier.evaluation.metrics.likelihood:bits_per_byte",
}


def known_metrics() -> tuple[str, ...]:
    """The names of all metrics, built-in ones first."""
    return tuple(_table())


def get_metric(name: str) -> Metric:
    """The metric called ``name``.

    Raises:
        UsageError: the metric is unknown (with a suggestion), its argument is missing or
            superfluous, or its package is broken.
    """
    table = _table()
    base, _, argument = _PASS_AT.sub("pass@k:", name).partition(":")
    if base not in table:
        fix = did_you_mean(base, table, cutoff=0.5) or f"known metrics: {', '.join(table)}"
        raise UsageError(f"unknown metric {name!r}", fix=fix)
    entry = table[base]
    try:
        make = entry.load()
        metric = make(argument) if argument else make()
    except LuthierError:
        raise
    except Exception as error:  # other packages may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"the metric {name!r} cannot be loaded from {entry.value}: {reason}",
            fix=f"write {base} without ':{argument}'"
            if argument
            else "repair or remove the package that provides it",
        ) from error
    if not isinstance(metric, Metric):
        raise UsageError(f"{entry.value}, announced as the metric {name!r}, is not a Metric")
    return metric


@cache
def _table() -> dict[str, EntryPoint]:
    built_in = [EntryPoint(name, value, GROUP) for name, value in _BUILT_IN.items()]
    return merge_entries([*built_in, *entry_points(group=GROUP)])


def merge_entries(entries: list[EntryPoint]) -> dict[str, EntryPoint]:
    """Entry points by name.

    Raises:
        UsageError: two of them have the same name.
    """
    table: dict[str, EntryPoint] = {}
    for entry in entries:
        if entry.name in table:
            raise UsageError(
                f"two metrics are called {entry.name!r}: "
                f"{table[entry.name].value} and {entry.value}",
                fix="remove one of the packages that provide them",
            )
        table[entry.name] = entry
    return table
