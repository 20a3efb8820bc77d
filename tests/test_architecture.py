"""The shape of the code, as ARCHITECTURE.md promises it."""

from __future__ import annotations

import ast
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
    "luthier.records.run_directory",
    "luthier.config",
    "luthier.planning",
    "luthier.prompts",
    "luthier.reports",
    "luthier.tasks",
    "luthier.tasks.load",
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


# Files of a run are opened in core.files and core.folders, which follow no link. These modules open
# something else, or write into a folder that `new_folder` has just made.
OPENS_OTHER_THINGS = {
    "core/files.py": "files of a run",
    "core/folders.py": "folders of a run",
    "core/cache.py": "the lock of a folder of the cache",
    "records/run_directory.py": "makes the folder of a run, and tries to write there",
    "records/results.py": "moves results of a model that is replaced",
    "records/run_lock.py": "the lock of a run, and the table of processes",
    "checkpoint/store.py": "writes into a new folder",
    "methods/adapted.py": "removes a file of a new folder",
    "methods/bottleneck.py": "writes into a new folder; reads an adapter",
    "training/tune.py": "removes a record of its own, which is no opening",
    "training/trackers/tensorboard.py": "a new file of a random name",
    "training/trackers/services.py": "folders that services write to",
    "cli/main.py": "the null device",
    "config/stored.py": "what this user has written, noted in the cache",
    "data/docstrings.py": "the standard library",
    "distributed/launch.py": "a temporary folder of its own",
    "distributed/installing.py": "what was installed",
    "evaluation/judge/template.py": "the package's own files",
    "evaluation/cached_engine.py": "the package's own files",
    "tasks/load.py": "the package's own files",
    "inference/remote/http.py": "a server",
    "models/device.py": "the system",
    "models/foreign_config.py": "a temporary folder of its own",
    "models/weights.py": "a model",
    "planning/model_config.py": "a model",
    "planning/hardware.py": "the system, and the cache",
    "planning/tables.py": "the package's own files",
    "prompts/library.py": "the package's own files",
    "prompts/template_worker.py": "the system",
    "prompts/tokenizer_rules.py": "the null device",
    "reports/html.py": "the package's own files",
}
OPENING = {"open", "fdopen", "read_text", "read_bytes", "write_text", "write_bytes", "touch"}
OPENING |= {"mkdir", "makedirs", "unlink", "rmtree", "rename", "replace_file", "symlink_to"}
OPENING |= {"safe_open", "save_file", "load_file", "copyfile", "copytree", "move"}


def test_files_of_a_run_are_opened_in_one_place() -> None:
    opening = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            of = called.value if isinstance(called, ast.Attribute) else None
            if name not in OPENING or (isinstance(of, ast.Name) and of.id == "RunDirectory"):
                continue
            if name in ("read_text", "read_bytes") and of is None:
                continue  # those of core.files
            opening.add(str(path.relative_to(ROOT / "src" / "luthier")))
    assert opening - set(OPENS_OTHER_THINGS) == set()
    assert set(OPENS_OTHER_THINGS) - opening == set()
