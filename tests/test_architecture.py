"""The shape of the code, as ARCHITECTURE.md promises it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "luthier").rglob("*.py"))
HEAVY = ("torch", "transformers", "peft", "datasets")
LIGHT_MODULES = (
    "luthier",
    "luthier.api",
    "luthier.cli.main",
    "luthier.core.run_directory",
    "luthier.config",
    "luthier.plan",
    "luthier.prompts",
    "luthier.report",
)


def test_layers_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_files_stay_readable() -> None:
    long = {str(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def test_every_package_says_what_it_is() -> None:
    packages = [path for path in SOURCES if path.name == "__init__.py"]
    silent = [str(path) for path in packages if not path.read_text().startswith('"""')]
    assert not silent
    folders = {path.parent for path in SOURCES}
    assert folders == {path.parent for path in packages}
