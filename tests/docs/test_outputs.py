"""Outputs that the documents show are those of today: marked pairs are run and compared.

A pair is a block of one command and the block of its output, behind the comment ``CHECKED``. A
recorded session (``console``) holds both, and may end with another exit code than 0.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

import luthier
from luthier.cli.main import run

ROOT = Path(__file__).parents[2]
PAIR = re.compile(
    r"^<!-- checked -->\n```sh\n(?P<command>[^\n]+)\n```\n\n```text\n(?P<output>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
SESSION = re.compile(
    r"^<!-- checked -->\n```console\n\$ (?P<command>[^\n]+)\n(?P<output>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
ANY_SESSION = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
CASES = [
    pytest.param(found["command"], found["output"], id=f"{name}: {found['command']}")
    for name, text in sorted(PAGES.items())
    for found in (*PAIR.finditer(text), *SESSION.finditer(text))
]
SESSIONS = sorted(
    line.removeprefix("$ ")
    for text in PAGES.values()
    for block in ANY_SESSION.findall(text)
    for line in block.splitlines()
    if line.startswith("$ luthier ")
)

SHOWN_FILES = [
    pytest.param(ROOT / name, block, id=name)
    for text in PAGES.values()
    for name, block in re.findall(
        r"^```yaml\n# (examples/\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
]
SNIPPETS = [
    pytest.param(block, id=f"{name} {number}")
    for name, text in sorted(PAGES.items())
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    )
]


def lines(text: str) -> list[str]:
    """The lines of an output, without the blanks that fill them up and the empty ones around."""
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def parts(output: str) -> list[list[str]]:
    """An output cut at the lines where the page leaves something out (``…``)."""
    pieces = re.split(r"^…\n", output, flags=re.MULTILINE)
    return [lines(piece) for piece in pieces if piece.strip()]


def position(part: list[str], shown: list[str], start: int) -> int | None:
    """The line behind ``part`` in ``shown``, looked for from ``start``; None: it is not there."""
    ends = range(start + len(part), len(shown) + 1)
    return next((end for end in ends if shown[end - len(part) : end] == part), None)


def test_each_mark_has_its_pair() -> None:
    marks = sum(text.count("<!-- checked -->") for text in PAGES.values())
    assert len(CASES) == marks >= 12


@pytest.mark.parametrize(("command", "output"), CASES)
def test_output_is_as_the_page_shows(
    command: str,
    output: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    bundled_handle: object,
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    words = shlex.split(command.partition("#")[0])[1:]
    if "task.yaml" in words:
        luthier.init("examples/tickets.csv", "task.yaml", group="")
    run(words)
    shown = lines(capsys.readouterr().out)
    wanted = parts(output)
    end: int | None = 0
    for part in wanted:
        end = position(part, shown, end)
        assert end is not None, "\n".join(["not in the output:", *part, "", *shown])
    if not output.endswith("…\n"):
        assert end == len(shown)


@pytest.mark.parametrize("command", SESSIONS)
def test_session_names_options_that_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)[1:]
    named = [word for word in words if not word.startswith("-") and "=" not in word]
    assert run([*named[: 2 if named[0] in ("plan", "data", "config") else 1], "--help"]) == 0
    help_text = capsys.readouterr().out
    for option in (word for word in words if word.startswith("--")):
        assert option.partition("=")[0] in help_text, option


@pytest.mark.parametrize(("path", "block"), SHOWN_FILES)
def test_file_is_as_the_page_shows(path: Path, block: str) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == yaml.safe_load(block)


def test_pages_show_files() -> None:
    assert len(SHOWN_FILES) == 2


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet_compiles_and_names_exist(snippet: str) -> None:
    compile(snippet, "page", "exec")
    for name in re.findall(r"\bluthier\.(\w+)\(", snippet):
        assert callable(getattr(luthier, name))
