"""``luthier evaluate --before … --after …`` and ``--power``: what is compared or planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cyclopts import Parameter

from luthier.cli.output import print_json, print_result
from luthier.core.errors import UsageError


@Parameter(name="*")
@dataclass(frozen=True)
class ChangeOptions:
    """What is compared or planned, instead of measured."""

    before: str | None = None
    "With --after: the model or run before; without it, the run's base model."
    after: str | None = None
    "A tuned run: what did it forget, item by item and kind by kind?"
    power: float | None = None
    "How many examples show this difference? From the run's scores, or --base-rate."
    base_rate: float | None = None
    "With --power and no run: the share of right answers to expect."

    @property
    def given(self) -> bool:
        """Whether any of them is."""
        return any(v is not None for v in (self.before, self.after, self.power, self.base_rate))


def print_changes(
    options: ChangeOptions, run: str | None, settings: Mapping[str, Any], *, as_json: bool
) -> None:
    """Print how many examples a difference needs, or what was forgotten.

    Raises:
        UsageError: an option lacks the one that it goes with.
    """
    if options.power is not None:
        _print_sample_size(options.power, run, options.base_rate, as_json=as_json)
    elif options.after is not None:
        _print_forgotten(options.after, options.before, settings, as_json=as_json)
    else:
        raise UsageError(
            "--before needs --after, and --base-rate needs --power",
            fix="luthier evaluate --before MODEL --after RUN, or --power 0.02 --base-rate 0.7",
        )


def _print_forgotten(
    after: str, before: str | None, settings: Mapping[str, Any], *, as_json: bool
) -> None:
    """Compare a tuned run with what was before, and print what was lost."""
    import luthier

    report = luthier.measure_forgetting(after, before, overrides=settings)
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    from luthier.reports.changes import forgetting_tables

    for table in forgetting_tables(report):
        print_result(table, "")


def _print_sample_size(
    difference: float, run: str | None, base_rate: float | None, *, as_json: bool
) -> None:
    """Print how many examples show a difference."""
    import luthier

    plan = luthier.required_sample_size(difference, run, base_rate=base_rate)
    if as_json:
        print_json(plan.model_dump(mode="json"))
        return
    from luthier.reports.changes import sample_size_table

    print_result(sample_size_table(plan))
