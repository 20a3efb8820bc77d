"""The documents are run: commands, examples and snippets in them work as they stand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import luthier
from luthier.cli.main import run
from luthier.config import load_config
from luthier.data import docstrings

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))),
)
TICKETS = [f"Where is parcel {n}?,In depot {n % 7}.\n" for n in range(60)]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
# These take minutes, and the ladder's tests run them on small data.
SLOW = {"adapt", "tune", "resume", "extend", "evaluate", "prompt", "compare"}
OF_RUNS = {"report", "push", "forgetting", "sample-size", "submit", "judge", "predict"}
# So many rows as show what it does.
FEWER_ROWS = {("data", "show"): ("data.num_train=200", "data.num_validation=50")}
SUBCOMMANDS = {
    ("data", "show"),
    ("data", "mix"),
    ("config", "show"),
    ("config", "schema"),
    ("models", "pull"),
    *(("plan", name) for name in ("search", "inference", "trace", "check", "calibrate")),
}


def code_blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = [
        line.partition("#")[0].strip()
        for document in DOCUMENTS
        for block in code_blocks(document, "sh")
        for line in block.splitlines()
    ]
    return sorted({line for line in lines if line.startswith("luthier ")})


def make_targets() -> list[str]:
    text = "".join((ROOT / document).read_text(encoding="utf-8") for document in DOCUMENTS)
    return sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)\b", text, re.MULTILINE)))


def test_documents_have_commands() -> None:
    assert len(commands()) >= 8


@pytest.mark.parametrize("command", commands())
def test_command_is_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)[1:]
    options = [word for word in words if word.startswith("--")]
    name = words[:2] if tuple(words[:2]) in SUBCOMMANDS else words[:1]
    assert run([*name, "--help"]) == 0
    help_text = capsys.readouterr().out
    for option in options:
        assert option.partition("=")[0] in help_text, f"{option} is not an option of {words[0]}"


@pytest.fixture(scope="module")
def parsed_once() -> Iterator[None]:
    """The standard library, whose files many commands read, is parsed by the first of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docstrings, "_rows_of_file", cache(docstrings._rows_of_file))
        yield


def is_quick(command: str) -> bool:
    return "--dry-run" in command or shlex.split(command)[1] not in SLOW


@pytest.mark.parametrize("command", [c for c in commands() if is_quick(c)])
def test_command_runs(
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    bundled_handle: object,
    parsed_once: None,
) -> None:
    words = shlex.split(command)[1:]
    if words[0] in OF_RUNS and "--base-rate" not in words:
        pytest.skip("it needs a run; the tests of the command line make one")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "tickets.csv").write_text("prompt,completion\n" + "".join(TICKETS))
    monkeypatch.chdir(tmp_path)
    if "task.yaml" in words:
        luthier.init("tickets.csv", "task.yaml")
    assert run([*words, *FEWER_ROWS.get(tuple(words[:2]), ())]) == 0


@pytest.mark.parametrize("snippet", code_blocks("README.md", "python"))
def test_snippet_compiles_and_names_exist(snippet: str) -> None:
    import luthier

    compile(snippet, "README.md", "exec")
    for name in re.findall(r"\bluthier\.(\w+)\(", snippet):
        assert callable(getattr(luthier, name))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_valid(path: Path) -> None:
    assert load_config(path).adapt.rungs


@pytest.mark.parametrize("target", make_targets())
def test_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http"):
            assert (ROOT / document).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_are_there(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for name in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", text):
        places = (ROOT, ROOT / "src" / "luthier", ROOT / "tests")
        assert any((place / name).exists() for place in places), name
