"""Every metric, grouped by the module that computes it."""

from __future__ import annotations

import inspect
import re
import sys
from types import ModuleType

from luthier.evaluation.metrics.base import Metric, TextMetric
from luthier.evaluation.metrics.registry import get_metric, known_metrics

from .fields import about

_EXAMPLES = {
    "f1": "f1:LABEL", "precision": "precision:LABEL", "recall": "recall:LABEL",
    "distinct": "distinct:2", "match": "match:last", "pass@k": "pass@5",
}  # fmt: skip
"""How metrics that need an argument are written."""
_NOT_LIBRARIES = {"luthier", "numpy", *sys.stdlib_module_names}


def entries() -> str:
    """A heading for every module of metrics, its docstring, and under it the metrics."""
    groups: dict[str, list[str]] = {}
    told = set()
    for name in known_metrics():
        metric = get_metric(_EXAMPLES.get(name, name))
        kind = type(metric)
        texts = groups.setdefault(kind.__module__, [_heading(kind), about(_module(kind))])
        texts.append(_entry(name, metric, "" if kind in told else about(kind)))
        told.add(kind)
    return "\n\n".join(text for texts in groups.values() for text in texts)


def _heading(metric: type[Metric]) -> str:
    """The library that computes the metrics of a module, or the noun that it is called by."""
    noun = metric.__module__.rpartition(".")[2].replace("_", " ").capitalize()
    return f"## {_library(metric) or noun}"


def _entry(name: str, metric: Metric, meaning: str) -> str:
    low, high = (f"{bound:g}".replace("inf", "∞").replace("-", "−") for bound in metric.bounds)
    facts = [
        f"{low} to {high}",
        "higher is better" if metric.higher_is_better else "lower is better",
        f"needs {' and '.join(sorted(metric.needs))}",
        f"computed by {_library(type(metric)) or 'Luthier'}",
    ]
    if isinstance(metric, TextMetric):
        facts.append("options `:nfc`, `:nfkc`, `:visible`")
    parts = (f"<small>{' · '.join(facts)}</small>", meaning, _signature(metric))
    text = "\n\n".join(filter(None, parts)).replace("\n", "\n    ")
    return f"`{name}`{{ #{name} }}\n:   {text}"


def _signature(metric: Metric) -> str:
    return f"Signature: `{metric.signature([['a']])}`"


def _module(metric: type[Metric]) -> ModuleType:
    return sys.modules[metric.__module__]


def _library(metric: type[Metric]) -> str:
    """The package that a metric's module imports to compute it; empty where it is Luthier."""
    roots = re.findall(r"^\s*from (\w+)", inspect.getsource(_module(metric)), re.M)
    return next((f"`{root}`" for root in roots if root not in _NOT_LIBRARIES), "")
