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
from luthier.core.notebook import NotebookLine, in_notebook
from luthier.core.terminal import TerminalConsole, Text, guarded
from luthier.core.units import format_duration

_THEME = Theme(
    {"bar.complete": "cyan", "progress.description": "bold", "progress.remaining": "cyan"}
)
_INDENT = "    "
_LONGEST = 20_000
_PLAIN_INTERVAL_SECONDS = 10.0
_PLAIN_FIRST_SECONDS = 2.0
_NOTEBOOK_INTERVAL_SECONDS = 0.5
_PLAIN_COLUMNS = 100
# The first unit is slower than the others, so no estimate is shown before this many units.
_ENOUGH_UNITS = 4


class ProgressCallback(Protocol):
    """Advances a progress bar by ``amount`` units."""

    def __call__(self, amount: float = 1, *, status: str = "") -> None:
        """Advance, optionally with a short status such as ``"loss 2.31"``."""


class Console:
    """Messages and progress: bars on a terminal, a changing line in a notebook, or plain lines."""

    def __init__(self, stream: IO[str] | None = None, *, quiet: bool = False) -> None:
        # Notebooks show standard error as if it were an error.
        self._is_notebook = stream is None and in_notebook()
        self._quiet = quiet
        self._rich = TerminalConsole(
            stream or (sys.stdout if self._is_notebook else sys.stderr),
            theme=_THEME,
            quiet=quiet,
            soft_wrap=True,
            force_jupyter=False,  # it would make a cell output of each line
        )
        self._bar: Progress | None = None
        self._warned: set[str] = set()

    @property
    def is_live(self) -> bool:
        """Whether progress is drawn in place."""
        is_terminal = self._rich.is_terminal and not self._rich.is_dumb_terminal
        return is_terminal and not self._is_notebook  # a kernel's stream claims to be a terminal

    def say(self, text: str = "") -> None:
        """Print a line. Square brackets are printed as they are."""
        self._rich.print(text)

    def heading(self, text: str) -> None:
        """Print the heading of a stage."""
        self._rich.print(on_one_line(text), style="bold cyan")

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._rich.print(_labelled("warning:", _as_one(text), "bold yellow"))

    def warn_once(self, text: str) -> None:
        """Print a warning once per console: a model may be opened repeatedly."""
        if text not in self._warned:
            self._warned.add(text)
            self.warn(text)

    def error(self, error: LuthierError) -> None:
        """Print a user error: problem, location and fix."""
        self._rich.print(_labelled("error:", _as_one(error.problem), "bold red"))
        if error.where:
            self._rich.print(_labelled("  at:", _as_one(error.where), "dim"))
        if error.fix:
            self._rich.print(_labelled("  do:", _as_one(error.fix), "bold green"))

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
            return
        if self._is_notebook and not self._quiet:
            show, interval = NotebookLine().show, _NOTEBOOK_INTERVAL_SECONDS
        else:
            show, interval = self.say, _PLAIN_INTERVAL_SECONDS
        lines = _PlainProgress(show, description, total, done, interval)
        yield lines
        lines.end()

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


def _labelled(label: str, message: str, style: str) -> Text:
    """A message with a coloured label: red is an error, yellow a warning, green the fix."""
    return Text.assemble((label, style), " ", message)


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


class _PlainProgress:
    """Progress as a line every few seconds, for logs, pipes and notebooks.

    Args:
        say: prints a line, or replaces the one before.
        description: the activity.
        total: total units; None: unknown.
        before: units finished earlier.
        interval: seconds between lines.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        description: str,
        total: float | None,
        before: int,
        interval: float,
    ) -> None:
        self._say = say
        self._description = description
        self._total = total
        self._before = before
        self._interval = interval
        self._done: float = before
        self._said: float | None = None  # the count of the last line
        self._last = time.monotonic()
        self._first: tuple[float, float] | None = None  # time and count after the slower first unit

    def __call__(self, amount: float = 1, *, status: str = "") -> None:
        """See `ProgressCallback`."""
        self._done += amount
        now = time.monotonic()
        if self._first is None and self._done > self._before:
            self._first = now, self._done
        wait = self._interval
        if self._said is None:
            wait = min(_PLAIN_FIRST_SECONDS, wait)
        if now - self._last < wait:
            return
        self._last, self._said = now, self._done
        parts = [self._count(), *self._left(now)]
        line = "  " + " · ".join([*parts, status] if status else parts)
        if len(line) <= _PLAIN_COLUMNS:
            self._say(line)
        else:
            self._say(f"  {' · '.join(parts)}\n    {status}")

    def end(self) -> None:
        """Print the last count, if earlier ones were printed."""
        is_complete = not self._total or self._done >= self._total
        if self._said is not None and self._said < self._done and is_complete:
            self._say(f"  {self._count()}")

    def _count(self) -> str:
        total = f"/{self._total:.0f}" if self._total else ""
        return f"{self._description}: {self._done:.0f}{total}"

    def _left(self, now: float) -> Iterator[str]:
        """The time left, once enough units are done to estimate it."""
        since, counted = self._first or (now, self._done)
        is_known = self._done - self._before >= _ENOUGH_UNITS and self._done > counted
        if self._total and is_known and self._done < self._total:
            left = (now - since) / (self._done - counted) * (self._total - self._done)
            yield f"{format_duration(left)} left"
