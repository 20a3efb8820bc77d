from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import luthier

PACKAGES = [module.name for module in pkgutil.iter_modules(luthier.__path__) if module.ispkg]


@pytest.mark.parametrize("name", luthier.__all__)
def test_every_stage_is_a_function_with_a_file_of_the_api(name: str) -> None:
    assert callable(getattr(luthier, name))
    assert getattr(luthier, name).__module__.startswith("luthier.api.")


def test_no_function_is_called_like_a_package() -> None:
    """Importing the package would put it in the place of the function."""
    assert PACKAGES
    assert not set(luthier.__all__) & set(PACKAGES)


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'adopt'"):
        luthier.adopt  # type: ignore[attr-defined]  # noqa: B018


def test_the_functions_are_listed_without_importing_what_they_need() -> None:
    code = (
        "import sys, luthier; names = dir(luthier); "
        "missing = set(luthier.__all__) - set(names); "
        "heavy = {'torch', 'transformers', 'pydantic'}; "
        "print(sorted(missing), sorted(heavy & set(sys.modules)), '__version__' in names)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[] [] True"
