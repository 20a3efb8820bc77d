"""The notebooks of the examples run in a real kernel."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def execute(notebook: Any, folder: Path) -> Any:
    """The notebook with its outputs, executed in ``folder``; an error in a cell is raised."""
    place = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(notebook, timeout=400, kernel_name="python3", resources=place)
    return client.execute(env={**os.environ, "PYTHONPATH": str(ROOT / "src")})


def outputs_of(notebook: Any) -> list[Any]:
    return [one for cell in notebook.cells for one in cell.get("outputs", [])]


@pytest.mark.usefixtures("bundled_handle")
@pytest.mark.sample(1)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    done = execute(notebook, tmp_path / "examples" / "notebooks")
    outputs = outputs_of(done)
    assert any("text/html" in one.get("data", {}) for one in outputs)
    said = "".join(one.get("text", "") for one in outputs)
    assert "\x1b[2K" not in said  # bars that a saved notebook would pile up
    assert "IProgress" not in said


def test_progress_is_one_line_and_errors_have_no_traceback(tmp_path: Path) -> None:
    cells = [
        "import time, luthier\nfrom luthier.core.console import Console",
        "with Console().progress('counting', 30) as advance:\n"
        "    for _ in range(30):\n        time.sleep(0.1); advance(status='x\\x1b[2Jx')",
        "try:\n    luthier.tune('nowhere.yaml')\nexcept Exception as error:\n"
        "    found = error._render_traceback_()\nfound",
    ]
    notebook = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[nbformat.v4.new_code_cell(text) for text in cells]  # type: ignore[no-untyped-call]
    )
    shown, error = outputs_of(execute(notebook, tmp_path))
    assert shown["output_type"] == "display_data"
    assert shown["data"]["text/plain"].strip().startswith("counting: ")
    assert "\x1b" not in shown["data"]["text/plain"]
    assert error["data"]["text/plain"] == (
        "['error: the file does not exist', '  at: nowhere.yaml']"
    )
