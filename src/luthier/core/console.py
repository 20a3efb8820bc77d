"""Messages and progress bars on standard error; results go to standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import IO, Protocol

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.theme import Theme

from luthier.core.errors import LuthierError
from luthier.core.names import on_one_line
from luthier.core.terminal import TerminalConsole, Text, guarded
from luthier.core.units import format_duration

_THEME = Theme(
    {"bar.complete": "cyan", "progress.description": "bold", "progress.remaining": "cyan"}
)
_INDENT = "    "
_LONGEST = 20_000
_PLAIN_INTERVAL_SECONDS = 10.0
_PLAIN_FIRST_SECONDS = 2.0
_PLAIN_COLUMNS = 100
# The first unit is slower than the others, so no estimate is shown before this many units.
_ENOUGH_UNITS = 4


class ProgressCallback(Protocol):
    """Advances a progress bar by ``amount`` units."""

    def __call__(self, amount: float = 1, *, status: str = "") -> None:
        """Advance, optionally with a short status such as ``"loss 2.31"``."""


class Console:
    """Messages and progress bars: live on a terminal, plain lines elsewhere."""

    def __init__(self, stream: IO[str] | None = None, *, quiet: bool = False) -> None:
        self._rich = TerminalConsole(
            stream or sys.stderr, theme=_THEME, quiet=quiet, soft_wrap=True
        )
        self._bar: Progress | None = None
        self._warned: set[str] = set()

    @property
    def is_live(self) -> bool:
        """Whether progress is drawn in place."""
        return self._rich.is_terminal and not self._rich.is_dumb_terminal

    def say(self, text: str = "") -> None:
        """Print a line. Square brackets are printed as they are."""
        self._rich.print(text)

    def heading(self, text: str) -> None:
        """Print the heading of a stage."""
        self._rich.print(on_one_line(text), style="bold cyan")

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._rich.print(_as_one(f"warning: {text}"), style="yellow")

    def warn_once(self, text: str) -> None:
        """Print a warning once per console: a model may be opened repeatedly."""
        if text not in self._warned:
            self._warned.add(text)
            self.warn(text)

    def error(self, error: LuthierError) -> None:
        """Print a user error: problem, location and fix."""
        self._rich.print(_as_one(f"error: {error.problem}"), style="bold red")
        if error.where:
            self._rich.print(_as_one(f"  at: {error.where}"))
        if error.fix:
            self._rich.print(_as_one(f"  do: {error.fix}"))

    @contextmanager
    def progress(
        self, description: str, total: float | None, done: int = 0
    ) -> Iterator[ProgressCallback]:
        """Show progress with the time left. Nested calls share one display.

        Args:
            description: the activity.
            total: total units; None: unknown.
            done: units finished earlier, which are excluded from the estimate of the time left.
        """
        description = on_one_line(description)
        if self.is_live:
            with self._live(description, total, done) as advance:
                yield advance
        else:
            yield _plain_progress(self.say, description, total, done)

    @contextmanager
    def _live(self, description: str, total: float | None, done: int) -> Iterator[ProgressCallback]:
        with self._display() as bar:
            task = bar.add_task(description, total=total, completed=done, status="", before=done)

            def advance(amount: float = 1, *, status: str = "") -> None:
                bar.update(task, advance=amount)
                if status:
                    bar.update(task, status=status)

            try:
                yield advance
            finally:
                bar.remove_task(task)

    @contextmanager
    def _display(self) -> Iterator[Progress]:
        """The current bars, or new ones; other output is printed above them."""
        if self._bar is not None:
            yield self._bar
            return
        bar = _Bars(
            SpinnerColumn("line" if self._rich.options.ascii_only else "dots"),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _TimeLeft(),
            console=self._rich,
            transient=True,
            redirect_stdout=False,  # rich would strip the colours of redirected output
            redirect_stderr=False,
        )
        lines = _Lines(self.say)
        output, errors = (guarded(stream, lines.put) for stream in (sys.stdout, sys.stderr))
        with redirect_stdout(output), redirect_stderr(errors), bar:
            self._bar = bar
            try:
                yield bar
            finally:
                lines.end()
                self._bar = None


def _as_one(message: str) -> str:
    """The message as one block: later lines are indented, and long text is truncated.

    The indentation is deeper than that of an error's parts, so no line can imitate one.
    """
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST]}… ({len(message) - _LONGEST:,} characters more)"
    first, *others = message.split("\n")
    return "\n".join([first, *(f"{_INDENT}{line}" for line in others)])


class _Lines:
    """A buffer that prints incoming text line by line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._begun = ""

    def put(self, text: str) -> None:
        """Add a piece of text."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._say(line)

    def end(self) -> None:
        """Print an unfinished last line."""
        if self._begun:
            self.put("\n")


class _TimeLeft(TimeRemainingColumn):
    """The time left, shown once enough units are done to estimate it."""

    def render(self, task: Task) -> Text:
        """See `TimeRemainingColumn.render`."""
        if task.completed - task.fields["before"] < _ENOUGH_UNITS and not task.finished:
            return Text("-:--:--", style="progress.remaining")
        return Text().append(super().render(task))


class _Bars(Progress):
    """Progress bars with their status on a line below, because 80 columns cannot hold both."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """The table of bars, then a line for each status."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if status := task.fields["status"]:
                yield Text(f"  {status}", style="dim", no_wrap=True, overflow="ellipsis")


def _plain_progress(
    say: Callable[[str], None], description: str, total: float | None, before: int
) -> ProgressCallback:
    """Progress as a line every few seconds, for logs and pipes."""
    last = time.monotonic()
    done: float = before
    said = False
    first: tuple[float, float] | None = None  # time and count after the first, slower unit

    def advance(amount: float = 1, *, status: str = "") -> None:
        nonlocal done, last, first, said
        done += amount
        now = time.monotonic()
        if first is None and done > before:
            first = now, done
        wait = (
            _PLAIN_INTERVAL_SECONDS if said else min(_PLAIN_FIRST_SECONDS, _PLAIN_INTERVAL_SECONDS)
        )
        if now - last < wait:
            return
        last, said = now, True
        parts = [f"{description}: {done:.0f}"]
        if total:
            parts = [f"{description}: {done:.0f}/{total:.0f}"]
            since, counted = first or (now, done)
            if done - before >= _ENOUGH_UNITS and done > counted:
                left = (now - since) / (done - counted) * (total - done)
                parts.append(f"{format_duration(left)} left")
        line = "  " + " · ".join([*parts, status] if status else parts)
        if len(line) <= _PLAIN_COLUMNS:
            say(line)
        else:
            say("  " + " · ".join(parts))
            say(f"    {status}")

    return advance
