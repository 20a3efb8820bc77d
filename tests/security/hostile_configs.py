"""Opens models of hostile configs beside a package ``kernels`` and a Hub that record every call.

Run as a module of its own process: transformers looks for the package once, when it is imported.
transformers opens the first argument by itself, which
shows that calls are recorded, in the second. Then
a line of JSON is printed for each folder of the input: whether it was refused, in which words.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import LuthierError
from luthier.inference.local.engine import LocalEngine
from luthier.methods import load
from luthier.models.load import open_model


def outcome(folder: Path, base: str | None) -> dict[str, object]:
    """What becomes of a model: its error, or the type of its attention."""
    config = ModelConfig(id=str(folder), base=base, dtype="float32")
    try:
        loaded = load(open_model(config, Console(quiet=True)))
        LocalEngine(loaded).losses([[1, 40, 41]])
    except LuthierError as error:
        return {"refused": f"{error.problem} {error.where}"}
    return {"refused": "", "attention": loaded.model.config._attn_implementation}


if __name__ == "__main__":
    from transformers import AutoModelForCausalLM
    from transformers.utils import is_kernels_available

    print(json.dumps({"kernels": is_kernels_available()}))
    calls, unguarded, elsewhere = os.environ["CALLS"], *sys.argv[1:]
    os.environ["CALLS"] = elsewhere
    with contextlib.suppress(Exception):
        AutoModelForCausalLM.from_pretrained(unguarded)
    os.environ["CALLS"] = calls
    for line in sys.stdin:
        folder, base = json.loads(line)
        print(json.dumps(outcome(Path(folder), base)), flush=True)
