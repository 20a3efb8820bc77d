"""The near-duplicates among the rows of a table, before it is a task."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from luthier.core.console import Console
from luthier.core.row import Row
from luthier.core.seeds import derive
from luthier.data.column_kinds import text_of_cell
from luthier.data.near_duplicates import NearDuplicates, join_groups, linked_texts
from luthier.records.data_profile import DataProfile, NearRows

_MOST_ROWS = 20_000
_MOST_CHARACTERS = 10_000_000
"""So many take about ten seconds; of larger tables a sample is looked at."""


def find_near_rows(rows: Sequence[Row], profile: DataProfile, console: Console) -> NearRows:
    """The rows whose questions are near-duplicates, or those of a sample of a large table.

    Args:
        rows: the rows.
        profile: their profile, which names the columns of the question and the group.
        console: shows progress.
    """
    texts = ["\n".join(text_of_cell(row.get(name)) for name in profile.texts)
             for row in (row.values for row in rows)]  # fmt: skip
    chosen = _sample(texts)

    def linked() -> Iterator[NearDuplicates]:
        with console.progress("looking for near-duplicates", len(chosen)) as advance:
            yield from linked_texts([texts[place] for place in chosen], advance)

    groups = [_group(rows[place], profile.group) or f"row {place}" for place in chosen]
    joined = join_groups(groups, linked())
    members = joined.all.members
    return NearRows(
        rows=joined.all.num_texts,
        groups=len(members),
        among=len(chosen),
        pair=tuple(rows[chosen[index]].where for index in members[0][:2]) if members else (),
        is_whole=joined.is_whole,
        is_chained_by_groups=joined.is_chained_by_groups,
    )


def _sample(texts: Sequence[str]) -> list[int]:
    """The places of at most 20,000 texts of 10 million characters in all, in order."""
    characters = sum(map(len, texts))
    most = min(_MOST_ROWS, len(texts) * _MOST_CHARACTERS // max(characters, _MOST_CHARACTERS))
    if most == len(texts):
        return list(range(len(texts)))
    drawn = random.Random(derive(0, "near rows")).sample(range(len(texts)), most)  # noqa: S311
    return sorted(drawn)


def _group(row: Row, column: str) -> str:
    """The group of a row; empty if it has none."""
    value = text_of_cell(row.values.get(column)) if column else ""
    return value and f"group {value}"
