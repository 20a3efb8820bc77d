"""The notebooks of the examples: their form; tests/notebooks executes them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import luthier

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_there_is_a_notebook_for_every_reader() -> None:
    names = {path.stem for path in NOTEBOOKS}
    assert names == {"analyst", "evaluation", "memory-and-compute", "time-limits"}
    page = (FOLDER.parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    assert all(f"examples/notebooks/{name}.ipynb" in page for name in names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_no_outputs_and_calls_what_exists(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    called = set(re.findall(r"\bluthier\.([a-z_]+)\(", "\n".join(code)))
    assert called
    assert called <= {*luthier.__all__}
