"""A file of questions and answers, and a quick tuning on it by the command line."""

from __future__ import annotations

import json
from pathlib import Path

from luthier.cli.main import run as luthier


def written(folder: Path, count: int, answer: str = "In depot {}.") -> Path:
    """So many rows; ``{}`` in the answer is the number that is asked about."""
    rows = [{"prompt": f"Where is {n}?", "completion": answer.format(n)} for n in range(count)]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tuned(model: Path, data: Path, method: str, *settings: str) -> int:
    """The exit code of a tuning of one epoch in float32, as the run ``run``; it prints JSON."""
    quick = ["train.epochs=1", "train.compile=false", "model.dtype=float32"]
    quick += ["evaluate.general_text=null", "--name", "run", "--json"]
    asked = ["tune", "--model", str(model), "--data", str(data), "--method", method]
    return luthier([*asked, *quick, *settings])
