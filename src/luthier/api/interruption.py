"""Advice after an interruption."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from luthier.core.errors import PreemptedError
from luthier.core.interrupt import Interrupted
from luthier.core.notebook import in_notebook, resume_command
from luthier.records.run_directory import RunDirectory


@contextmanager
def continued_by_resume(run: RunDirectory) -> Iterator[None]:
    """Advise to resume the run after an interruption.

    Raises:
        Interrupted: in a notebook, in place of KeyboardInterrupt.
    """
    fix = f"continue with {resume_command(str(run.path))}"
    try:
        yield
    except PreemptedError as error:
        raise PreemptedError(error.problem, where=error.where, fix=fix) from None
    except KeyboardInterrupt as error:
        if in_notebook():
            raise Interrupted(fix) from None
        error.add_note(fix)
        raise
