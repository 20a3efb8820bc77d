"""Real finished runs of a tiny model, which tests may spoil: each gets a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core.console import Console
from luthier.records.run_directory import RunDirectory

Copy = Callable[[], Path]


@pytest.fixture(scope="session")
def adapted(tiny_llama: Path, quick_settings: dict[str, Any], tmp_path_factory: Any) -> Path:
    """A finished ladder of two rungs; leave it as it is."""
    import luthier

    settings = {
        **quick_settings,
        "model.id": str(tiny_llama),
        "adapt.rungs": ["zero-shot", "lora"],
        "output": str(tmp_path_factory.mktemp("finished")),
        "name": "ladder",
    }
    run: RunDirectory = luthier.adapt(None, settings, Console(quiet=True)).run
    return run.path


@pytest.fixture
def copied(adapted: Path, tmp_path: Path) -> Path:
    """A copy of the finished ladder, as somebody else may have sent it."""
    return Path(shutil.copytree(adapted, tmp_path / "sent" / "ladder"))
