"""What is shown while waiting."""

from __future__ import annotations

import io
import sys
import time

import pytest
from rich.progress import Progress

from luthier.core import console as module
from luthier.core.console import Console
from luthier.core.errors import DataError


def test_plain_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.5, 7.5, 8.0, 26.5])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    with Console(out).progress("Training", 40) as advance:
        advance(5)
        advance(5, status="loss 2.00 [best]")
        advance(5)
        advance(15)
    assert out.getvalue().splitlines() == [
        "  Training: 10/40 · 36 s left · loss 2.00 [best]",
        "  Training: 30/40 · 10 s left",
    ]


def test_the_first_line_of_plain_progress_comes_after_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 1.9, 2.1, 11.0, 12.2])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    with Console(out).progress("reading", None) as advance:
        for _ in range(4):
            advance()
    assert out.getvalue().splitlines() == ["  reading: 2", "  reading: 4"]


@pytest.mark.parametrize(("total", "last"), [(4, ["  reading: 4/4"]), (None, ["  reading: 4"])])
def test_plain_progress_ends_with_the_last_count(
    total: int | None, last: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe it seemed to stop at 3 of 4."""
    clock = iter([0.0, 2.5, 3.0, 4.0, 5.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    with Console(out).progress("reading", total) as advance:
        for _ in range(4):
            advance()
    assert out.getvalue().splitlines()[1:] == last


def test_plain_progress_that_failed_has_no_last_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.5, 3.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    out = io.StringIO()

    def fail() -> None:
        with Console(out).progress("reading", None) as advance:
            advance()
            advance()
            raise DataError("wrong")

    with pytest.raises(DataError):
        fail()
    assert len(out.getvalue().splitlines()) == 1


@pytest.mark.parametrize("no_color", [False, True])
def test_colours_tell_errors_warnings_and_fixes_apart(
    no_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red, yellow and green on a terminal; none where NO_COLOR is set."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    out = _Terminal()
    console = Console(out)
    console.error(DataError("wrong", where="a:1", fix="mend it"))
    console.warn("careful")
    for label, colour in (("error:", "31"), ("warning:", "33"), ("  do:", "32")):
        assert (f"\x1b[1;{colour}m{label}" in out.getvalue()) != no_color


def test_what_was_done_before_says_nothing_about_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 10.0, 30.0, 50.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    with Console(out).progress("Training", 40, done=30) as advance:
        advance(0)
        advance(4)
        advance(2)
    assert out.getvalue().splitlines() == [
        "  Training: 30/40",
        "  Training: 34/40",
        "  Training: 36/40 · 40 s left",
    ]


def test_a_slow_first_step_says_nothing_about_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 100.0, 111.0, 122.0, 133.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    with Console(out).progress("Training", 40) as advance:
        for _ in range(4):
            advance(1)
    lines = out.getvalue().splitlines()
    assert [" left" in line for line in lines] == [False, False, False, True]
    assert "6m 36s left" in lines[-1]


@pytest.mark.parametrize(("steps", "is_estimated"), [(1, False), (3, False), (4, True)])
def test_a_bar_says_how_much_is_left_after_enough_steps(steps: int, is_estimated: bool) -> None:
    times = iter(range(100))
    bar = Progress(
        module._TimeLeft(), get_time=lambda: float(next(times)), auto_refresh=False, disable=False
    )
    task = bar.add_task("Training", total=40, before=0)
    for _ in range(steps):
        bar.update(task, advance=1)
    shown = str(bar.columns[0].render(bar.tasks[0]))
    assert (shown != "-:--:--") == is_estimated


def test_plain_progress_guesses_no_time_before_the_first_unit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PLAIN_INTERVAL_SECONDS", 0.0)
    out = io.StringIO()
    with Console(out).progress("Training", 40) as advance:
        advance(0)
    assert out.getvalue() == "  Training: 0/40\n"


def test_plain_progress_without_a_total(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 11.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    with Console(out).progress("Fetching", None) as advance:
        advance(3)
    assert out.getvalue() == "  Fetching: 3\n"


def test_plain_output_has_no_control_characters() -> None:
    out = io.StringIO()
    console = Console(out)
    assert not console.is_live
    console.heading("Stage")
    console.say("a [bold]word[/bold] " + "x" * 200)
    console.warn("careful [1]")
    with console.progress("p", 2) as outer, console.progress("q", 2) as inner:
        inner()
        outer()
    assert out.getvalue().splitlines() == [
        "Stage",
        "a [bold]word[/bold] " + "x" * 200,
        "warning: careful [1]",
    ]


def test_an_error_is_three_lines_at_most() -> None:
    out = io.StringIO()
    Console(out).error(DataError("it is [wrong]", where="a.jsonl:3", fix="mend it"))
    assert out.getvalue().splitlines() == [
        "error: it is [wrong]",
        "  at: a.jsonl:3",
        "  do: mend it",
    ]
    out = io.StringIO()
    Console(out).error(DataError("wrong"))
    assert out.getvalue() == "error: wrong\n"


def test_a_quiet_console_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PLAIN_INTERVAL_SECONDS", 0.0)
    out = io.StringIO()
    console = Console(out, quiet=True)
    console.warn("x")
    with console.progress("p", 3) as advance:
        advance()
    assert out.getvalue() == ""


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    return _Terminal()


def test_a_status_stands_beneath_its_bar(terminal: _Terminal) -> None:
    with Console(terminal).progress("Training", 2) as advance:
        advance(1, status="going " + "well " * 10)
        time.sleep(0.3)  # drawn ten times a second
    drawn = [line for line in terminal.getvalue().splitlines() if "going" in line]
    assert drawn
    assert all("well " * 9 + "well" in line and "Training" not in line for line in drawn)


def test_nested_bars_share_a_display(terminal: _Terminal) -> None:
    out, console = terminal, Console(terminal)
    assert console.is_live
    with console.progress("outer", 2) as outer:
        with console.progress("inner", 4) as inner:
            inner(4, status="going well")
        outer()
    with pytest.raises(KeyError), console.progress("broken", 1):
        raise KeyError
    with console.progress("later", 1) as later:  # the display of a failed one was taken down
        later()
    assert "outer" in out.getvalue()
    assert "later" in out.getvalue()


def test_messages_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Console().say("hello")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")
    assert sys.stderr is not None
