"""Starts commands in forks of a process that has imported everything: a fresh process at once.

A line on standard input is a JSON list of arguments. The answer is a line with the process id,
and, when the process has ended, a line with its exit code (negative: the signal).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch


def prepare() -> None:
    """Import what a tuning needs. No thread may be started: a fork would not have it."""
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import peft  # noqa: F401
    from transformers.models.auto.tokenization_auto import AutoTokenizer  # noqa: F401
    from transformers.models.llama import modeling_llama  # noqa: F401

    import luthier.adapt.base_model
    import luthier.adapt.evaluation
    import luthier.adapt.forecast
    import luthier.adapt.manifest
    import luthier.adapt.tuning
    import luthier.report  # noqa: F401


def run(arguments: list[str], log: Path) -> None:
    """Become the command, with its output in ``log``."""
    from luthier.cli.main import main

    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        main(arguments)
    except SystemExit as ended:
        sys.stderr.flush()
        os._exit(int(ended.code or 0))
    finally:
        sys.stderr.flush()
        os._exit(99)


def serve() -> None:
    """Answer until standard input ends."""
    prepare()
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            run(request["arguments"], Path(request["log"]))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
