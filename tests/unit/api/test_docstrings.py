"""The examples in the docstrings of the public functions run as they stand."""

from __future__ import annotations

import doctest
import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.api.configuration import configure
from luthier.config.load import to_yaml
from luthier.core.console import Console

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("one_thread")
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def workplace(
    tiny_llama: Path, quick_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the files and runs that the examples name, on a tiny model."""
    folder = tmp_path_factory.mktemp("examples")
    settings = {**quick_settings, "model.id": str(tiny_llama), "output": str(folder / "runs")}
    settings["train.epochs"] = 1
    (folder / "task.yaml").write_text(to_yaml(configure(None, settings)))
    shutil.copy(ROOT / "examples" / "tickets.csv", folder)
    luthier.init(folder / "tickets.csv", folder / "my-task.yaml")
    tuned = luthier.tune(None, {**settings, "name": "tuned"}, QUIET)
    luthier.evaluate(tuned.run.path, console=QUIET)
    luthier.evaluate(None, None, {**settings, "name": "untuned"}, QUIET)
    return folder


SLOW = ("trace_plan",)
NAMES = [
    pytest.param(name, marks=[pytest.mark.long] if name in SLOW else []) for name in luthier.__all__
]


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_function_runs(
    name: str, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "work"
    shutil.copytree(workplace, copied)
    task = copied / "task.yaml"
    task.write_text(task.read_text().replace(str(workplace), str(copied)))
    monkeypatch.chdir(copied)
    text = inspect.getdoc(getattr(luthier, name)) or ""
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert test.examples, f"{name} has no example"
    failures: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=failures.append)
    assert not failures, "".join(failures)


def test_help_lists_every_function_and_dir_no_import() -> None:
    assert {name for name in dir(luthier) if not name.startswith("__")} == {*luthier.__all__}
