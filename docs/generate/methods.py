"""The tuning methods and the facts about each."""

from __future__ import annotations

from luthier.core.method_facts import FACTS

_COLUMNS = ("method", "name", "trains", "merged", "sharded", "packed", "recomputed")


def table() -> str:
    """A row for every method, whose name leads to its settings."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    for name, facts in FACTS.items():
        settings = f"configuration.md#methods.{name.replace('-', '_')}"
        can = (facts.mergeable, facts.shardable, facts.packable, facts.recomputable)
        cells = (
            f"[`{name}`]({settings})",
            facts.title,
            facts.trains,
            *("yes" if one else "–" for one in can),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
