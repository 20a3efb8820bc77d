"""A parquet file from which bytes are missing is refused, and does not end the process."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from luthier.core.errors import DataError
from luthier.data.parquet import rows_of_parquet

pyarrow = pytest.importorskip("pyarrow")
ROWS = [
    {"prompt": f"Is {n} odd?", "completion": "yes" if n % 2 else "no", "n": n / 2, "id": str(n)}
    for n in range(20)
]


@pytest.mark.parametrize("missing", [1, 10, 64])
def test_missing_bytes(missing: int, tmp_path: Path) -> None:
    from pyarrow import parquet

    held = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), held)
    whole, path, refused = held.getvalue(), tmp_path / "d.parquet", 0
    for at in range(0, len(whole), 4):
        path.write_bytes(whole[:at] + whole[at + missing :])
        try:
            found = list(rows_of_parquet(path, path.name))
        except DataError:
            refused += 1
        else:
            assert len(found) <= len(ROWS)
    assert refused > len(whole) // 8


def test_a_description_of_a_column_that_ends_the_process() -> None:
    """Found by fuzzing: pyarrow 26 calls terminate where this column's description is asked for."""
    path = Path(__file__).with_name("damaged_histogram.parquet")
    with pytest.raises((DataError, OSError), match="histogram size mismatch"):
        list(rows_of_parquet(path, path.name))
