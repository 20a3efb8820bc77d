from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import luthier


@pytest.mark.parametrize("name", luthier.__all__)
def test_stages_stay_functions_when_packages_are_imported(name: str) -> None:
    for package in ("luthier.adapt", "luthier.evaluate", "luthier.report"):
        importlib.import_module(package)
    assert callable(getattr(luthier, name))
    modules = {f"luthier.{name}" for name in ("api", "benchmarks", "comparing", "continuing")}
    assert getattr(luthier, name).__module__ in modules


def test_packages_can_still_be_imported_from() -> None:
    from luthier.ladder.run import climb
    from luthier.reports import write_report

    assert callable(climb)
    assert callable(write_report)


def test_the_functions_are_listed_without_importing_what_they_need() -> None:
    code = (
        "import sys, luthier; names = dir(luthier); "
        "missing = set(luthier.__all__) - set(names); "
        "heavy = {'torch', 'transformers', 'pydantic'}; "
        "print(sorted(missing), sorted(heavy & set(sys.modules)), '__version__' in names)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[] [] True"
