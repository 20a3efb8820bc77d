"""What tuning makes a model forget, with and without general text mixed in.

    python benchmarks/forgetting.py [--share 0.2] [--data NAME ...] [section.key=value ...]

Every method tunes the bundled model on python-docstrings and, where LUTHIER_DATA names it, on
DialogSum: once on the task alone, once with the share of general text in each epoch. The test
examples and the general text on which both are measured are the same; what is mixed in is other
text of the same kind. Time is not measured. Results: benchmarks/results/<date>-forgetting.json and
.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import luthier
from common import provenance, store, table
from luthier.config import load_config
from luthier.core.files import read_json

_METHODS = ("lora", "full")
_EXAMPLES = Path(__file__).parent.parent / "examples"
_TASKS = {"python-docstrings": "demo.yaml", "dialogsum": "dialogsum.yaml"}


def main(arguments: list[str]) -> None:
    """Run and store."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--data", nargs="+", choices=list(_TASKS), default=_available())
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    chosen = parser.parse_args(arguments)
    shares = (0.0, chosen.share)
    results = [_climb(name, share, chosen.overrides) for name in chosen.data for share in shares]
    manifest = read_json(results[0].run.manifest)
    command = ["benchmarks/forgetting.py", *arguments]
    document = provenance(command, manifest["hardware"], manifest["versions"])
    document["ladders"] = [
        {"share": share, "ladder": result.ladder.model_dump(mode="json")}
        for result, share in zip(results, shares * len(chosen.data), strict=True)
    ]
    store("forgetting", document, _markdown(document))


def _available() -> list[str]:
    root = os.environ.get("LUTHIER_DATA")
    found = root and (Path(root) / "dialogsum").is_dir()
    return list(_TASKS) if found else ["python-docstrings"]


def _climb(name: str, share: float, overrides: list[str]) -> Any:
    settings = {"adapt.rungs": ["zero-shot", *_METHODS], "data.replay": share}
    return luthier.adapt(load_config(_EXAMPLES / _TASKS[name], overrides, settings))


def _markdown(document: dict[str, Any]) -> str:
    machine = document["hardware"]
    head = ("task", "method", "general text", "metric", "forgetting, nats/token")
    rows = (
        _row(each["ladder"], rung, each["share"])
        for each in document["ladders"]
        for rung in each["ladder"]["rungs"]
        if rung["metric"] and (rung["training"] or not each["share"])
    )
    lines = [
        f"# Forgetting, {document['date']}",
        "",
        f"`{document['command']}` at commit {document['commit']}",
        "",
        f"Machine: {machine['name']}, {machine['cores']} cores. General text: its share of the "
        "examples of each epoch. Forgetting is measured on text that is not trained on.",
        "",
        *table(head, rows),
    ]
    return "\n".join(lines) + "\n"


def _row(ladder: dict[str, Any], rung: dict[str, Any], share: float) -> list[str]:
    forgetting, training = rung["forgetting"], rung["training"]
    return [
        ladder["task"],
        rung["name"],
        f"{share:.0%}" if training else "–",
        f"{rung['metric']['name']} {_estimate(rung['metric'])}",
        _estimate(forgetting) if forgetting else "–",
    ]


def _estimate(value: dict[str, Any]) -> str:
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


if __name__ == "__main__":
    main(sys.argv[1:])
