"""The first code that runs: restart with the right allocator, then run the command."""

from __future__ import annotations

import sys

from luthier.core.memory_pool import start_in_pool

# Other commands do not train and should start fast.
_TRAINING = {"adapt", "extend", "resume", "tune"}


def main() -> None:
    """Run the command line; training commands use oneTBB's allocator."""
    if not _TRAINING.isdisjoint(sys.argv[1:2]):
        start_in_pool()
    from luthier.cli.main import main as run_command

    run_command()
