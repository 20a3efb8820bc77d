"""What a person sees while waiting. Everything goes to standard error; results go to output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from rich.console import Console as RichConsole
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
from rich.text import Text
from rich.theme import Theme

from luthier.core.errors import LuthierError
from luthier.core.units import format_duration

_THEME = Theme(
    {"bar.complete": "cyan", "progress.description": "bold", "progress.remaining": "cyan"}
)
_PLAIN_INTERVAL_SECONDS = 10.0
_PLAIN_FIRST_SECONDS = 2.0
_PLAIN_COLUMNS = 100
# The first unit is slower than those after it, so there is no estimate before so many.
_ENOUGH_UNITS = 4


class Advance(Protocol):
    """Tells a progress display that ``amount`` more units are done."""

    def __call__(self, amount: float = 1, *, status: str = "") -> None:
        """Move on, optionally with a short status such as ``"loss 2.31"``."""


class Console:
    """Messages and progress bars: live on a terminal, plain lines elsewhere."""

    def __init__(self, stream: IO[str] | None = None, *, quiet: bool = False) -> None:
        self._rich = RichConsole(
            file=stream or sys.stderr, theme=_THEME, quiet=quiet, highlight=False, soft_wrap=True
        )
        self._bar: Progress | None = None

    @property
    def is_live(self) -> bool:
        """Whether progress is drawn in place."""
        return self._rich.is_terminal and not self._rich.is_dumb_terminal

    def say(self, text: str = "") -> None:
        """Print a line. Square brackets are printed as they are."""
        self._rich.print(text, markup=False)

    def heading(self, text: str) -> None:
        """Print a line that begins a stage."""
        self._rich.print(text, markup=False, style="bold cyan")

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._rich.print(f"warning: {text}", markup=False, style="yellow")

    def error(self, error: LuthierError) -> None:
        """Print a user's mistake: what, where, and what to do."""
        self._rich.print(f"error: {error.problem}", markup=False, style="bold red")
        if error.where:
            self._rich.print(f"  at: {error.where}", markup=False)
        if error.fix:
            self._rich.print(f"  do: {error.fix}", markup=False)

    @contextmanager
    def progress(self, description: str, total: float | None, done: int = 0) -> Iterator[Advance]:
        """Show progress with the time left. Nested calls show in the same display.

        Args:
            description: what is going on.
            total: units in all; None: unknown.
            done: units done before, which say nothing about the time left.
        """
        if self.is_live:
            with self._live(description, total, done) as advance:
                yield advance
        else:
            yield _plain_progress(self.say, description, total, done)

    @contextmanager
    def _live(self, description: str, total: float | None, done: int) -> Iterator[Advance]:
        owner = self._bar is None
        if self._bar is None:
            self._bar = _Bars(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                _TimeLeft(),
                console=self._rich,
                transient=True,
            )
            self._bar.start()
        bar = self._bar
        task = bar.add_task(description, total=total, completed=done, status="", before=done)

        def advance(amount: float = 1, *, status: str = "") -> None:
            bar.update(task, advance=amount)
            if status:
                bar.update(task, status=status)

        try:
            yield advance
        finally:
            bar.remove_task(task)
            if owner:
                bar.stop()
                self._bar = None


class _TimeLeft(TimeRemainingColumn):
    """The time left, once enough units are done to estimate it."""

    def render(self, task: Task) -> Text:
        """See `TimeRemainingColumn.render`."""
        if task.completed - task.fields["before"] < _ENOUGH_UNITS and not task.finished:
            return Text("-:--:--", style="progress.remaining")
        return super().render(task)


class _Bars(Progress):
    """Bars, and beneath them what is said of them, which a line of 80 columns has no room for."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """The table of bars, then a line for each status."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if status := task.fields["status"]:
                yield Text(f"  {status}", style="dim", no_wrap=True, overflow="ellipsis")


def _plain_progress(
    say: Callable[[str], None], description: str, total: float | None, before: int
) -> Advance:
    """Progress as a line every few seconds, for logs and pipes."""
    last = time.monotonic()
    done: float = before
    said = False
    first: tuple[float, float] | None = None  # when the first, slower unit was done, and the count

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
