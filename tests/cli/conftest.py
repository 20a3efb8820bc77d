"""The command line, called in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Outcome(NamedTuple):
    """What a command leaves: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output; anything beside it is an error."""
        return json.loads(self.out)


Call = Callable[..., Outcome]


@pytest.fixture(scope="session")
def call() -> Call:
    """Runs ``luthier`` with the arguments as a user would give them."""
    from luthier.cli.main import run

    def call_luthier(*arguments: str) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(arguments)
        return Outcome(code, out.getvalue(), err.getvalue())

    return call_luthier


@pytest.fixture(scope="session")
def quick(tiny_llama: Path, quick_settings: dict[str, Any]) -> tuple[str, ...]:
    """Arguments for a small task on a tiny model."""
    settings = {**quick_settings, "model.id": str(tiny_llama)}
    return tuple(f"{key}={json.dumps(value)}" for key, value in settings.items())
