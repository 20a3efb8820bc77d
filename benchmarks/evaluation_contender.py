"""Score requests with one library in a process of its own: how fast, in how much memory.

    python benchmarks/evaluation_contender.py luthier|lm-eval CASE

CASE is a JSON object: ``model`` (a folder), ``requests`` (a file with a JSON list of context,
continuation, and the tokens of both), ``batch_size`` (of lm-eval) and ``threads``. The last line
of the output is a JSON object too. It imports the library alone that it measures.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Request = tuple[str, str, list[int], list[int]]
Scores = list[tuple[float, bool]]


def luthier(case: dict[str, Any], requests: list[Request]) -> Callable[[], Scores]:
    """Luthier's engine, as its commands use it."""
    from luthier.config import EvaluateConfig, ModelConfig
    from luthier.core.console import Console
    from luthier.inference import ScoreRequest
    from luthier.inference.local.engine import LocalEngine
    from luthier.models.load import load_model, open_model

    config = ModelConfig(id=case["model"], dtype="float32")
    loaded = load_model(open_model(config, Console(quiet=True)))
    engine = LocalEngine(loaded, EvaluateConfig().batch_tokens)
    asked = [ScoreRequest(tuple(context), tuple(rest)) for _, _, context, rest in requests]
    return lambda: [(score.logprob, score.greedy) for score in engine.score(asked)]


def lm_eval(case: dict[str, Any], requests: list[Request]) -> Callable[[], Scores]:
    """The HF backend of lm-evaluation-harness, which computes rows that are alike once."""
    from lm_eval.models.huggingface import HFLM

    peer = HFLM(
        pretrained=case["model"], dtype="float32", device="cpu", batch_size=case["batch_size"]
    )
    for context, continuation, *ids in requests:
        if list(peer._encode_pair(context, continuation)) != ids:
            raise SystemExit(f"lm-eval makes other tokens of {context[-40:]!r}, {continuation!r}")
    asked = [((text, rest), *ids) for text, rest, *ids in requests]
    return lambda: peer._loglikelihood_tokens(asked, disable_tqdm=True)


CONTENDERS = {"luthier": luthier, "lm-eval": lm_eval}


def measure(name: str, case: dict[str, Any]) -> dict[str, Any]:
    """Load, score, and say what it took."""
    started = time.perf_counter()
    import torch

    torch.set_num_threads(case["threads"])
    requests = json.loads(Path(case["requests"]).read_text(encoding="utf-8"))
    score = CONTENDERS[name](case, requests)
    loaded = time.perf_counter()
    scores = score()
    return {
        "start_seconds": loaded - started,
        "seconds": time.perf_counter() - loaded,
        "peak_bytes": _peak_bytes(),
        "scores": [(float(logprob), bool(greedy)) for logprob, greedy in scores],
    }


def _peak_bytes() -> int:
    """The highest resident memory (Linux): getrusage would begin with that of the parent."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]))))
