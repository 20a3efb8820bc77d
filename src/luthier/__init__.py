"""Luthier finds the cheapest adaptation of a language model that does your job, and proves it.

The functions are the commands. Each takes a configuration (a `RunConfig`, the path of a YAML or
data file, or None for the defaults) and changed settings by dotted key, and returns a result that
shows itself in a notebook::

    import luthier

    draft = luthier.init("tickets.csv", "task.yaml")
    result = luthier.adapt("task.yaml", {"adapt.rungs": ["majority", "linear", "zero-shot"]})
    result.to_pandas()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luthier.api.adapt import adapt
    from luthier.api.benchmark import benchmark, submit
    from luthier.api.compare import compare
    from luthier.api.dry_run import dry_run
    from luthier.api.evaluate import evaluate
    from luthier.api.extend import extend
    from luthier.api.forgetting import measure_forgetting
    from luthier.api.init import init
    from luthier.api.inspect import inspect
    from luthier.api.judge import judge
    from luthier.api.load import Model, load
    from luthier.api.merge import merge
    from luthier.api.plan import calibrate, check_plans, plan, search_plans, trace_plan
    from luthier.api.predict import predict
    from luthier.api.prompt import prompt
    from luthier.api.push import prepare_push, push
    from luthier.api.report import report
    from luthier.api.resume import resume
    from luthier.api.sample_size import required_sample_size
    from luthier.api.tune import tune

__version__ = "0.1.0"
__all__ = [
    "Model",
    "adapt",
    "benchmark",
    "calibrate",
    "check_plans",
    "compare",
    "dry_run",
    "evaluate",
    "extend",
    "init",
    "inspect",
    "judge",
    "load",
    "measure_forgetting",
    "merge",
    "plan",
    "predict",
    "prepare_push",
    "prompt",
    "push",
    "report",
    "required_sample_size",
    "resume",
    "search_plans",
    "submit",
    "trace_plan",
    "tune",
]

_IN_OTHER_FILES = {
    "Model": "load",
    "calibrate": "plan",
    "check_plans": "plan",
    "measure_forgetting": "forgetting",
    "prepare_push": "push",
    "required_sample_size": "sample_size",
    "search_plans": "plan",
    "submit": "benchmark",
    "trace_plan": "plan",
}
"""Functions whose module in `luthier.api` has another name."""


def __getattr__(name: str) -> Any:
    """A stage, imported when it is first used: importing Luthier costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'luthier' has no attribute {name!r}")
    return getattr(import_module(f"luthier.api.{_IN_OTHER_FILES.get(name, name)}"), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
