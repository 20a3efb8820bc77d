"""The entry point: the list of commands, and the output of errors."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from cyclopts import App, CycloptsError

from luthier import __version__
from luthier.cli.groups import OPTIONS
from luthier.cli.help import FilledHelp
from luthier.cli.mistakes import CONFIGURED, misunderstood
from luthier.cli.renamed import renamed_option
from luthier.core.disk import is_of_a_disk, unwritable
from luthier.core.errors import LuthierError, PreemptedError, ResourceError
from luthier.core.terminal import TerminalConsole, guard_streams

_START = """\
Start with 'luthier adapt': it runs on a bundled model and task, offline.
With a file of your own: 'luthier init FILE', then 'luthier adapt task.yaml'.
"""
_SETTINGS = """\
Any setting: section.key=value, such as train.epochs=2; 'luthier config show' lists them all.
"""

# Commands are import paths, so that none is imported before it is called.
_COMMANDS = (
    ("adapt", "luthier.cli.adapt:adapt", "Climb the ladder and recommend the cheapest rung."),
    ("init", "luthier.cli.init:init", "Draft a task from your own file."),
    ("plan", "luthier.cli.plan.app:app", "Estimate memory, time and cost before training."),
    ("tune", "luthier.cli.tune:tune", "Tune a model with one method."),
    ("inspect", "luthier.cli.inspect:inspect", "Show the parameters that a method trains."),
    ("launch", "luthier.cli.launch:launch", "Write files for Slurm and SkyPilot."),
    ("resume", "luthier.cli.resume:resume", "Resume an interrupted run."),
    ("extend", "luthier.cli.extend:extend", "Train a tune run for more epochs or steps."),
    ("prompt", "luthier.cli.prompt:prompt", "Prompt a model, zero-shot or few-shot."),
    ("predict", "luthier.cli.predict:predict", "Answer new rows with a run."),
    ("evaluate", "luthier.cli.evaluate:evaluate", "Evaluate a model or a tuned run."),
    ("tasks", "luthier.cli.tasks:tasks", "List the benchmark tasks, or show one."),
    ("submit", "luthier.cli.submit:submit", "Write predictions for a leaderboard."),
    ("compare", "luthier.cli.compare:compare", "Compare runs on the same examples."),
    ("judge", "luthier.cli.judge:judge", "Judge the answers of runs with a model."),
    ("forgetting", "luthier.cli.forgetting:forgetting", "Measure what a tuned run forgot."),
    (
        "sample-size",
        "luthier.cli.sample_size:sample_size",
        "Compute the number of test examples needed.",
    ),
    ("merge", "luthier.cli.merge:merge", "Merge a run's adapter into its base model."),
    ("push", "luthier.cli.push:push", "Publish a tuned model on the Hub."),
    ("report", "luthier.cli.report:report", "Rewrite the report of a run."),
    ("data", "luthier.cli.data:app", "Inspect data: format, lengths, trained tokens."),
    ("models", "luthier.cli.models:app", "List the bundled models, or get one."),
    ("runs", "luthier.cli.runs:runs", "List the runs."),
    ("config", "luthier.cli.config:app", "Show the configuration or its schema."),
    ("doctor", "luthier.cli.doctor:doctor", "Check this machine."),
)
_NAMES = frozenset(name for name, *_ in _COMMANDS)
_INTERRUPTED = 130
_DEFECT = 1


def application(asked: str = "") -> App:
    """The command line application.

    Args:
        asked: the command called; its help is its whole docstring instead of the one-line
            description that lists commands without importing them.
    """
    app = App(
        name="luthier",
        version=__version__,
        help="Find the cheapest adaptation of a language model that does your job, and prove it.",
        help_format="plaintext",  # rendering Markdown would take a third of the time of --help
        help_formatter=FilledHelp(),
        help_epilogue=_SETTINGS if asked in CONFIGURED else None if asked in _NAMES else _START,
        version_flags=["--version"],
        group_parameters=OPTIONS,
        console=TerminalConsole(sys.stdout),
        suppress_keyboard_interrupt=False,  # otherwise it would exit silently
    )
    for place, (name, path, line) in enumerate(_COMMANDS):
        app.command(path, name=name, help=None if name == asked else line, sort_key=place)
    app.register_install_completion_command(help="Install completion for your shell.")
    return app


class _Terminated(KeyboardInterrupt):
    """SIGTERM outside training, which handles it at a better moment."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code; a bug in Luthier exits with 1 and a traceback."""
    guard_streams()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = run(arguments)
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of Rust code is no Exception
        code = _admit(error)
    if "RANK" in os.environ:  # one of several processes
        from luthier.distributed.launch import leave

        leave(code)
    # The process is about to end; a final garbage collection would take over a second.
    gc.freeze()
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0 ok, 2 usage or configuration, 3 data or artifact, 4 resources, 5 diverged,
        75 stopped and can be resumed, 130 interrupted. A command may return one of them.
    """
    given = sys.argv[1:] if arguments is None else arguments
    app = application(next(iter(given), ""))
    try:
        code = app(given, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CycloptsError as error:
        return _explain(renamed_option(given) or misunderstood(error, given))
    except (LuthierError, KeyboardInterrupt) as error:
        return _explain(error)
    except Exception as error:
        from luthier.core.untrusted import is_shortage

        if is_shortage(error):
            return _explain(ResourceError("out of memory"))
        if not is_of_a_disk(error):
            raise
        # Standard output, a temporary folder, or a file of a library.
        name = error.filename if isinstance(error, OSError) else None
        return _explain(unwritable(Path(os.fsdecode(name or "standard output")), error))
    return code if isinstance(code, int) else 0


def _explain(error: LuthierError | KeyboardInterrupt) -> int:
    """Print the error and return the exit code."""
    from luthier.core.console import Console  # costs time, which successful commands save

    console = Console()
    if isinstance(error, LuthierError):
        console.error(error)
        return error.exit_code
    what = " ".join(getattr(error, "__notes__", ())) or "run the same command again to continue"
    console.say(f"interrupted; {what}")
    return PreemptedError.exit_code if isinstance(error, _Terminated) else _INTERRUPTED


def _admit(defect: BaseException) -> int:
    """Report a bug in Luthier with its traceback and return the exit code."""
    from luthier.core.console import Console
    from luthier.core.untrusted import reason

    traceback.print_exception(defect)
    problem = f"this is a bug in Luthier ({type(defect).__name__}): {reason(defect)}"
    fix = "please report it with the lines above; it is not your mistake"
    Console().error(LuthierError(problem, fix=fix))
    return _DEFECT


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated
