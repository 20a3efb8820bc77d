"""No text from outside commands a terminal: all of it goes out in one place, as text."""

from __future__ import annotations

import ast
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.padding import Padding
from rich.text import Text as RichText

from luthier.cli.main import application
from luthier.cli.output import print_json, print_result
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.tables import Table
from luthier.core.terminal import (
    ForeignStream,
    TerminalConsole,
    Text,
    encodable,
    guarded,
    printable,
    printable_json,
    printable_values,
)

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted((ROOT / "src" / "luthier").rglob("*.py"))
TITLE = "\x1b]0;pwned\x07"
HOSTILE = (
    f"a\x1b[31mred{TITLE}\x9b2J\x08\r\x7f\x00 b\u202egpj.exe\u202c \u2066x\u2069\u200f\u061c"
    "\u2028\u2029 \U000e0041\U000e007f \ud83d \ufeff [bold]m[/bold] :warning: [/no]"
)
# What writing needs, and what a naive rule would take for a control character.
ORDINARY = (
    "tab\there\nline", "👩‍👩‍👧‍👦 ❤️ 🇩🇪", "می‌خواهم", "क्‍ष ক্ষ", "é a\u0301", "日本語\u3000葛\U000e0100",
    "co\u00adoperate", "ភាសា\u200bខ្មែរ", "עברית العربية", "5\u202fkg\u00a0x", "\ue0b0 \U0001fae8",
)  # fmt: skip


def is_control(sign: str) -> bool:
    """Whether a sign may not reach a terminal, by another rule than the one that is tested."""
    if sign in "\n\t":
        return False
    category, bidi = unicodedata.category(sign), unicodedata.bidirectional(sign)
    turns = bidi in ("LRE", "LRO", "RLE", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    marks = sign in "\u200e\u200f\u061c"
    tags = 0xE0000 <= ord(sign) <= 0xE007F
    return category in ("Cc", "Zl", "Zp", "Cs") or turns or marks or tags


def controls(text: str) -> set[str]:
    return {sign for sign in text if is_control(sign)}


# ── the rule ──────────────────────────────────────────────────────────────────────────────────────


def test_every_control_character_is_shown_as_its_escape() -> None:
    for number in range(sys.maxunicode + 1):
        sign = chr(number)
        shown = printable(sign)
        if is_control(sign):
            assert shown == sign.encode("unicode_escape").decode()
        else:
            assert shown in (sign, sign.encode("unicode_escape").decode())
    assert printable("\x1b \u202e \U000e0041 \udcff") == r"\x1b \u202e \U000e0041 \udcff"


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text
    out = io.StringIO()
    TerminalConsole(out, width=200).print(text.replace("\t", " "))
    assert out.getvalue().rstrip("\n") == text.replace("\t", " ")


@given(st.text(st.characters(), max_size=30))
def test_printable_text_is_left_alone_and_free_of_controls(text: str) -> None:
    shown = printable(text)
    assert not controls(shown)
    assert printable(shown) == shown
    for encoding in ("ascii", "latin-1", "cp1252", "utf-8"):
        encodable(text, encoding).encode(encoding)


@given(st.dictionaries(st.text(), st.lists(st.text() | st.integers())))
def test_json_reads_back_whole(value: Any) -> None:
    for encoding in ("utf-8", "ascii", None):
        shown = printable_json(value, encoding)
        assert not controls(shown)
        assert json.loads(shown) == value


def test_json_with_lone_surrogates_reads_back_whole() -> None:
    shown = printable_json({HOSTILE: [HOSTILE]}, "utf-8")
    assert json.loads(shown) == {HOSTILE: [HOSTILE]}
    assert not controls(shown)


def test_values_are_printable_at_any_depth() -> None:
    value = {"a\x1b": [("\x9b", 1), {"b": None}], "c": 0.5}
    assert printable_values(value) == {r"a\x1b": [[r"\x9b", 1], {"b": None}], "c": 0.5}


# ── everything that prints ────────────────────────────────────────────────────────────────────────


def _progress(console: Console, text: str) -> None:
    with console.progress(text, 2) as advance, console.progress(text, None) as inner:
        advance(1, status=text)
        inner(1, status=text)


def _foreign(console: Console, text: str) -> None:
    """What others print while a bar is shown, in pieces."""
    with console.progress("work", 2):
        print(text)
        print(text, file=sys.stderr, end="")
        sys.stderr.write(warnings.formatwarning(text, UserWarning, "x.py", 1))


MESSAGES: dict[str, Callable[[Console, str], object]] = {
    "say": Console.say,
    "heading": Console.heading,
    "warn": Console.warn,
    "error": lambda console, text: console.error(DataError(text, where=text, fix=text)),
    "progress": _progress,
    "foreign": _foreign,
}


def _table(text: str) -> Table:
    table = Table("name", text)
    table.prose(text)
    table.add_row(text, Text(text, style="bold"), Text("a").append(text, "dim"))
    table.add_row(text, Text.assemble((text, "red"), text), Padding(text, (0, 1)))
    table.explain(text)
    return table


RESULTS: dict[str, Callable[[str], Any]] = {
    "string": lambda text: text,
    "table": _table,
    "text": lambda text: Text(text, style="green"),
    "raw text of rich": lambda text: RichText(text),
    "linked text": lambda text: (
        RichText.assemble(("x", f"link {'http://a/' + text.split()[0]}")) if text.split() else text
    ),
    "padding": lambda text: Padding(text, 1),
}


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Callable[[], _Terminal]:
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    return _Terminal


@pytest.mark.parametrize("name", MESSAGES)
@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(), max_size=60) | st.just(HOSTILE))
def test_no_message_holds_a_control_character(name: str, text: str) -> None:
    out, streams = io.StringIO(), (sys.stdout, sys.stderr)
    sys.stdout = sys.stderr = guarded(out)  # type: ignore[assignment]  # as `main` does
    try:
        MESSAGES[name](Console(out), text)
    finally:
        sys.stdout, sys.stderr = streams
    assert not controls(out.getvalue())


@pytest.mark.parametrize("name", RESULTS)
@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(), max_size=60) | st.just(HOSTILE))
def test_no_result_holds_a_control_character(name: str, text: str) -> None:
    out, stream = io.StringIO(), sys.stdout
    sys.stdout = out
    try:
        print_result(RESULTS[name](text))
        print_json({text: text})
    finally:
        sys.stdout = stream
    assert not controls(out.getvalue())


# Of a terminal, Luthier's own: colours, the cursor, clearing a line.
OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[[0-9]*[AK]|\x1b\[2K|\x1b\[\?25[lh]|\r")


@pytest.mark.parametrize("name", MESSAGES)
def test_a_live_terminal_gets_no_sequence_but_our_own(
    name: str, live: Callable[[], _Terminal]
) -> None:
    seen: list[set[str]] = []
    for text in ("harmless", HOSTILE, "\x1b[95mred \x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\"):
        out = live()
        console = Console(out)
        assert console.is_live
        MESSAGES[name](console, text)
        assert not controls(OWN.sub("", out.getvalue()))
        seen.append(set(OWN.findall(out.getvalue())))
    assert seen[1] | seen[2] <= seen[0] | {"\x1b[1A"}  # longer texts take more lines


def test_what_others_print_under_a_bar_is_kept_whole(live: Callable[[], _Terminal]) -> None:
    out = live()
    with Console(out).progress("work", 2):
        print("one\ntw", end="")
        print("o [red]", file=sys.stderr)
        print("begun", end="")
    drawn = OWN.sub("", out.getvalue())
    for line in ("one", "two [red]", "begun"):
        assert any(shown.endswith(line) for shown in drawn.splitlines())


def test_markup_and_emoji_names_of_a_text_are_no_markup(live: Callable[[], _Terminal]) -> None:
    out = live()
    console = Console(out)
    for message in MESSAGES.values():
        message(console, "[bold]a[/bold] [/x] :warning:")
    assert "[bold]a[/bold] [/x] :warning:" in out.getvalue()
    assert "⚠" not in out.getvalue()


def test_escapes_are_as_wide_as_they_show() -> None:
    """A table is laid out after the escapes are there, so no cell is cut or out of line."""
    table = Table("name", "value")
    for name in ("\x1b[31m", "plain", "\x07\x07", "ä"):
        table.add_row(Text(name), "x")
    for encoding in ("utf-8", "ascii"):
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        TerminalConsole(out, width=40).print(table)
        out.seek(0)
        rows = out.read().splitlines()[2:]
        assert len({row.rstrip().rindex("x") for row in rows}) == 1
        assert rows[0].startswith(r"\x1b[31m")
        assert rows[2].startswith(r"\x07\x07")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_text_can_be_shown_in_any_encoding(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", guarded(raw))
    monkeypatch.setattr(sys, "stderr", guarded(raw))
    for make in RESULTS.values():
        print_result(make(HOSTILE + "ä日本 👩‍👧 – ── …"))
    print_json({"ä日本": HOSTILE})
    for message in MESSAGES.values():
        message(Console(raw), HOSTILE + "ä日本 👩‍👧")
    ForeignStream(raw).write(HOSTILE + "日本")
    raw.flush()


# ── nothing goes around it ────────────────────────────────────────────────────────────────────────

# Modules that touch the streams, and why that is no way around.
STREAMS = {
    "core/terminal.py": "the one place",
    "core/console.py": "gives the stream to a console of core.terminal",
    "cli/output.py": "gives the stream to a console of core.terminal, or writes its JSON",
    "cli/help.py": "fills docstrings of its own, for the console of cli/main.py",
    "cli/main.py": "gives the stream to a console of core.terminal; flushes it",
    "distributed/launch.py": "flushes them",
    "prompts/template_worker.py": "answers its parent through a pipe",
    "training/trackers/observer.py": "sends what a package prints to the guarded stream",
}
STREAM_NAMES = {"stdout", "stderr"}
WRITERS = {"print_exc", "print_exception", "print_stack", "print_tb", "StreamHandler"}
WRITERS |= {"basicConfig", "RichHandler", "pprint", "pp", "echo", "secho"}


def _ways_out(tree: ast.AST) -> set[str]:
    """Names in a module through which text may leave it for a terminal."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            is_method = isinstance(called, ast.Attribute)
            if name in WRITERS or (name in ("print", "input") and not is_method):
                found.add(name)
            if name == "write" and is_method and ast.unparse(called.value) == "os":
                found.add("os.write")
        is_stream = isinstance(node, ast.Attribute) and node.attr.strip("_") in STREAM_NAMES
        if is_stream and ast.unparse(node.value) == "sys":
            found.add(node.attr)
        if isinstance(node, ast.ImportFrom):
            of_rich = (node.module or "").split(".")[0] == "rich"
            names = {alias.name for alias in node.names}
            if node.module == "sys":
                found |= names & STREAM_NAMES
            if of_rich:
                found |= names & {"Console", "Text", "print", "get_console", "inspect", "Live"}
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] in ("rich", "tqdm")}
    return found


def _is_for_types(path: Path, found: set[str]) -> bool:
    """`core.tables` names rich's console as a type of what it is given, and makes none."""
    text = path.read_text()
    return found == {"Console"} and not re.search(r"\bConsole\(", text)


def test_nothing_else_writes_to_a_terminal() -> None:
    writing = {}
    for path in SOURCES:
        found = _ways_out(ast.parse(path.read_text()))
        if found and not _is_for_types(path, found):
            writing[str(path.relative_to(ROOT / "src" / "luthier"))] = found
    assert {name: found for name, found in writing.items() if name not in STREAMS} == {}
    assert set(STREAMS) - set(writing) == set()
    flushing = ("distributed/launch.py", "cli/main.py")
    for name in flushing:
        text = (ROOT / "src" / "luthier" / name).read_text()
        assert not re.search(r"std(out|err)\.(write|buffer)", text)


@pytest.mark.parametrize(
    "code",
    ["print('x')", "import sys\nsys.stdout.write('x')", "import sys\nsys.__stderr__.write('x')",
     "from rich.console import Console", "from rich import print", "import logging\n"
     "logging.basicConfig()", "import os\nos.write(1, b'x')", "from sys import stderr",
     "import traceback\ntraceback.print_exc()", "from rich.text import Text"],
)  # fmt: skip
def test_a_way_around_would_be_found(code: str) -> None:
    assert _ways_out(ast.parse(code))


def test_help_is_printed_by_the_same_console() -> None:
    assert isinstance(application().console, TerminalConsole)


# ── real commands ─────────────────────────────────────────────────────────────────────────────────

ENVIRONMENT = {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def _command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "luthier", *arguments],
        env={**os.environ, **ENVIRONMENT, **environment}, capture_output=True, check=False,
        timeout=300,
    )  # fmt: skip


def _shown(done: subprocess.CompletedProcess[bytes]) -> str:
    shown = (done.stdout + done.stderr).decode()
    assert not controls(shown), shown
    assert "Traceback" not in shown, shown
    return shown


@pytest.fixture
def spoken(tiny_llama: Path, tmp_path: Path) -> Path:
    """A model whose chat template speaks to the terminal through an error."""
    model = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    template = "{{ raise_exception('boo \\x1b[31mRED\\x1b]0;title\\x07\u202e') }}"
    (model / "chat_template.jinja").write_text(template, encoding="utf-8")
    return model


def test_a_template_error_is_text(spoken: Path) -> None:
    done = _command("prompt", "--model", str(spoken), "--input", "hi")
    assert done.returncode == 3
    assert r"\x1b[31mRED\x1b]0;title\x07\u202e" in _shown(done)


def test_an_answer_of_a_server_is_text(loopback: Any) -> None:
    def rule(path: str, _body: Any) -> Any:
        if path == "/models":
            return {"data": [{"id": "m"}]}
        content = f"\x1b[31mRED{TITLE}\x1b[2J\u202e"
        return {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}

    loopback.rule = rule
    arguments = ("prompt", "--model", loopback.url, "--input", "hi")
    assert r"\x1b[31mRED\x1b]0;pwned\x07\x1b[2J\u202e" in _shown(_command(*arguments))


def test_a_name_of_a_file_is_text(tiny_llama: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n}\x1b[2J", "completion": f"c{n % 2}\x9b"} for n in range(40)]
    file = tmp_path / "x\x1b[31m\u202e.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = _command("data", "show", "--model", str(tiny_llama), "--data", str(file))
    assert done.returncode == 0, done.stderr
    assert r"x\x1b[31m\u202e" in _shown(done)


REPEATED = (
    ("no\x1b[31msuch",), ("runs", "--no\x1b]0;x\x07such"), ("tune", "train.\x1b[2J=1"),
    ("tune", "no\x1b[31mfile.yaml"), ("report", "no\u202erun\x9b"), ("tasks", "\x1b[31m"),
    ("plan", "m\x1b[31m", "--hardware", "\x1b[2J"), ("models", "pull", "\x1b[31mx"),
    ("data", "show", "--data", "x\x1b[31m\udcff.jsonl"), ("runs", "x\x1b]0;t\x07"),
    ("compare", "\x1b[31m", "\x9b"), ("tune", "hostile.yaml"),
)  # fmt: skip


def test_what_a_command_repeats_is_text(in_tmp_path: Path) -> None:
    (in_tmp_path / "hostile.yaml").write_text('"tra\\u001b[31min": {}\n', encoding="utf-8")
    code = (
        "from luthier.cli.main import run\nfrom luthier.core.terminal import guard_streams\n"
        f"guard_streams()\nfor arguments in {REPEATED!r}:\n    run(arguments)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False,
        env={**os.environ, **ENVIRONMENT}, timeout=300,
    )  # fmt: skip
    shown = _shown(done)
    assert shown.count("error: ") >= len(REPEATED) - 1
    assert r"tra\x1b[31min" in shown
    assert r"\udcff.jsonl" in shown


def test_a_traceback_of_a_defect_is_text() -> None:
    code = (
        "from luthier.core.terminal import guard_streams\nimport warnings, logging, sys\n"
        "guard_streams()\nlogging.getLogger('x').warning('l\\x1b[31m')\n"
        "warnings.warn('w\\x1b]0;t\\x07')\nsys.stdout.write('o\\x9b\\u202e')\n"
        "raise KeyError('k\\x1b[31m') from ValueError('v\\x1b[31m\\ud800')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False,
        env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip
    shown = (done.stdout + done.stderr).decode()
    assert not controls(shown), shown
    for text in (r"l\x1b[31m", r"w\x1b]0;t\x07", r"o\x9b\u202e", r"v\x1b[31m\ud800"):
        assert text in shown


@pytest.mark.long
def test_other_terminals_show_what_they_can(tiny_llama: Path, tmp_path: Path) -> None:
    file = tmp_path / "ä.jsonl"
    rows = [{"prompt": f"日本 {n}", "completion": "é…"} for n in range(40)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    arguments = ("data", "show", "--model", str(tiny_llama), "--data", str(file))
    done = _command(*arguments, PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 0, done.stderr
    assert rb"\u65e5\u672c" in done.stdout
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "NO_COLOR": "1"}
    done = _command(*arguments, "--json", **plain)
    assert done.returncode == 0, done.stderr
    assert "日本" in json.dumps(json.loads(done.stdout), ensure_ascii=False)


def test_a_real_terminal_gets_colours_and_no_foreign_sequence(in_tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, **ENVIRONMENT, "TERM": "xterm-256color", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "luthier", "report", f"no{TITLE}\x1b[95mrun"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = bytearray()
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # the other end is closed
            pass
        process.wait()
    os.close(ours)
    text = shown.decode()
    assert "\x1b[1;31merror" in text
    assert r"no\x1b]0;pwned\x07\x1b[95mrun" in text
    assert not controls(OWN.sub("", text).replace("\r", ""))
    assert "\x1b[95m" not in text
