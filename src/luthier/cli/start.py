"""The first thing that runs: a process with the right heap, then the command."""

from __future__ import annotations

import os
import sys

# glibc keeps small freed blocks in caches of their own, where they do not join their neighbours.
# The bytes before and after an aligned tensor are such blocks, so a tensor's own place becomes too
# small for the next tensor of its size. Without the caches a step of LoRA took a third less memory
# and no more time (lab/LOG.md). glibc reads this only when a process starts.
HEAP = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"}

# Other commands do not train, and should answer at once.
_TRAINING = {"adapt", "tune"}


def main() -> None:
    """Run the command line; what trains, on Linux, in a heap without caches of small blocks."""
    trains = not _TRAINING.isdisjoint(sys.argv[1:2])
    if trains and sys.platform.startswith("linux") and not HEAP.keys() & os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | HEAP)  # noqa: S606
    from luthier.cli.main import main as run_command

    run_command()
