"""Warnings above the table of a ladder: what was not tried, cut, or seen in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from luthier.core.names import listed
from luthier.core.units import counted
from luthier.records.contamination import Contamination
from luthier.records.ladder import RungRecord
from luthier.reports.format import format_interval

_MANY_CUT = 0.1
"""The share of cut answers above which a warning stands at the top."""


def untried_rungs(missing: Sequence[RungRecord]) -> Iterator[str]:
    """Warnings of the rungs without a figure, which might have changed the choice."""
    reasons = dict.fromkeys((rung.status, rung.reason) for rung in missing)
    for status, reason in reasons:
        names = [rung.name for rung in missing if (rung.status, rung.reason) == (status, reason)]
        were = "was" if len(names) == 1 else "were"
        outcome = f"{were} not tried" if status == "skipped" else "failed"
        yield f"{listed(names, last=' and ')} {outcome}, and might do better: {reason}."


def cut_answers(rungs: Sequence[RungRecord]) -> list[str]:
    """A warning for each rung with many answers that were cut at the token limit."""
    return [
        f"{rung.name}: {rung.truncated:,} of {counted(rung.metric.n, 'answer')} were cut at the "
        "token limit; raise evaluate.max_new_tokens."
        for rung in rungs
        if rung.metric and rung.truncated > _MANY_CUT * rung.metric.n
    ]


def contamination_warnings(
    found: Contamination | None, rungs: Sequence[RungRecord], chosen: str | None
) -> tuple[str, ...]:
    """Warnings of contamination; empty if all examples are clean."""
    if found is None or not found.examples:
        return ()
    clean = next((rung.clean for rung in rungs if rung.name == chosen), None)
    if clean is None:
        return (found.sentence,)
    apart = f"On the other {clean.n}, {chosen} reaches {clean.value:.3f} {format_interval(clean)}."
    return (f"{found.sentence} {apart}",)
