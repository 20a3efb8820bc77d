"""The process that a command runs in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.cli.start import HEAP

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap")
# In place of the command line: says how the process was started, and with which arguments.
PROBE = """
import os, sys
import luthier.cli.main as command_line
command_line.main = lambda: print(os.environ.get("GLIBC_TUNABLES"), *sys.argv[1:])
from luthier.cli.start import main
main()
"""


def started(tmp_path: Path, *arguments: str, **environment: str) -> str:
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    own = {name: value for name, value in os.environ.items() if name not in HEAP}
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env=own | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@LINUX
def test_what_trains_starts_again_in_a_lean_heap_with_the_same_arguments(tmp_path: Path) -> None:
    shown = started(tmp_path, "tune", "a file.yaml", "train.epochs=2")
    assert shown == f"{HEAP['GLIBC_TUNABLES']} tune a file.yaml train.epochs=2"


@LINUX
def test_what_the_user_set_stays(tmp_path: Path) -> None:
    shown = started(tmp_path, "adapt", GLIBC_TUNABLES="glibc.malloc.mxfast=64")
    assert shown == "glibc.malloc.mxfast=64 adapt"


def test_other_commands_start_once(tmp_path: Path) -> None:
    assert started(tmp_path, "plan", "gpt2") == "None plan gpt2"
