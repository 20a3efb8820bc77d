"""The shape of the code, as ARCHITECTURE.md promises it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeGuard

import pytest

from luthier.core.method_facts import METHOD_NAMES

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
    "core/own_files.py": "marks in the cache of what this user has written",
    "workflows/prediction_files.py": "removes a file that the same command wrote",
    "cli/main.py": "the null device",
    "config/stored.py": "what this user has written, noted in the cache",
    "data/docstrings.py": "the standard library",
    "data/excel.py": "the members of a workbook",
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
    "prompts/template_worker.py": "the system",
    "prompts/tokenizer_rules.py": "the null device",
    "workflows/publication.py": "writes into a new folder",
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


PACKAGE = ROOT / "src"


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): ast.parse(path.read_text()) for path in SOURCES}


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The project's modules that statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                found = inside if inside in MODULES else node.module
                yield from [found] if found in MODULES else []


def test_no_files_import_each_other_in_a_circle() -> None:
    """What a file imports when it is loaded; imports inside functions come later."""
    graph = {name: {*_imported(tree.body)} - {name} for name, tree in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(error.args[1][::-1]))


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_no_module_imports_another_rooms_underscored_module() -> None:
    private = [
        (name, found)
        for name, tree in MODULES.items()
        for found in _imported(ast.walk(tree))
        if _room(found) != _room(name)
        and any(part.startswith("_") and part != "__main__" for part in found.split("."))
    ]
    assert not private


# Names of methods that are ordinary words of training too: kinds of activation checkpointing, and
# the parameters that an adapter adds.
WORDS = {"full", "selective", "adapters"}
TRAINING = {
    name: tree
    for name, tree in MODULES.items()
    if name.startswith("luthier.training") and not name.startswith("luthier.training.objectives")
}


@pytest.mark.parametrize("module", TRAINING)
def test_training_names_no_method_and_no_objective(module: str) -> None:
    tree = TRAINING[module]
    method_files = {f"luthier.methods.{name.replace('-', '_')}" for name in METHOD_NAMES}
    objectives = {name for name in MODULES if name.startswith("luthier.training.objectives.")}
    objectives -= {"luthier.training.objectives.base"}
    assert not {*_imported(ast.walk(tree))} & (method_files | objectives)
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & {name.replace("-", "_") for name in METHOD_NAMES} - WORDS
    named = re.compile(rf"(?<![\w-])({'|'.join({*METHOD_NAMES} - WORDS)})(?![\w-])")
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if _has_doc(node)}
    said = [text for text in texts if isinstance(text, str) and text not in docstrings]
    assert not [text for text in said if named.search(text)]


def _has_doc(node: ast.AST) -> TypeGuard[ast.Module | ast.ClassDef | ast.FunctionDef]:
    return isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)


# The rooms that may tell kinds of methods and engines apart: where they are.
OWN_ROOMS = ("luthier.methods", "luthier.inference", "luthier.config")
KINDS = re.compile(r"\w+Method|\w+Engine|(?!Endpoint)\w+Config")


def test_kinds_of_methods_and_engines_are_told_apart_in_their_own_rooms() -> None:
    kinds = {
        node.name
        for name, tree in MODULES.items()
        if name.startswith((*OWN_ROOMS[:2], "luthier.config.methods"))
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and KINDS.fullmatch(node.name)
    }
    assert {"LoraConfig", "LoraMethod", "LocalEngine"} <= kinds
    asked = [
        (name, ast.unparse(node))
        for name, tree in MODULES.items()
        if not name.startswith(OWN_ROOMS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass")
        if kinds & {one.id for one in ast.walk(node.args[1]) if isinstance(one, ast.Name)}
    ]
    assert not asked
