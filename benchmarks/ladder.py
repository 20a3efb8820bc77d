"""Run a ladder and store its outcome with date, machine, versions and commit.

    python benchmarks/ladder.py [CONFIG.yaml] [section.key=value ...]

The default is examples/demo.yaml. Results: benchmarks/results/<date>-ladder-<task>.json and .md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import luthier
from common import provenance, store, table
from luthier.config import load_config
from luthier.core.files import read_json
from luthier.core.units import format_bytes, format_count, format_duration

_HEAD = (
    "rung",
    "{metric}",
    "gain (p, all pairs)",
    "forgetting, nats/token",
    "trained",
    "artifact",
    "peak memory",
    "training",
    "evaluation",
)


def main(arguments: list[str]) -> None:
    """Run and store."""
    files = [text for text in arguments if "=" not in text] or ["examples/demo.yaml"]
    overrides = [text for text in arguments if "=" in text]
    result = luthier.adapt(load_config(Path(files[0]), overrides))
    manifest = read_json(result.run.manifest)
    command = ["benchmarks/ladder.py", *arguments]
    document = provenance(command, manifest["hardware"], manifest["versions"])
    document["ladder"] = result.ladder.model_dump(mode="json")
    store(f"ladder-{result.ladder.task}", document, _markdown(document))


def _markdown(document: dict[str, Any]) -> str:
    ladder = document["ladder"]
    machine = document["hardware"]
    lines = [
        f"# Ladder on {ladder['task']}, {document['date']}",
        "",
        f"`{document['command']}` at commit {document['commit']}",
        "",
        f"Machine: {machine['name']}, {machine['cores']} cores, "
        f"{format_bytes(machine['memory_bytes'])}. Model: {ladder['model']['id']} "
        f"({ladder['model']['dtype']}). Examples: {ladder['examples']}. Time in all: "
        f"{format_duration(ladder['seconds'])}.",
        "",
        *table(
            [cell.format(metric=ladder["metric"]) for cell in _HEAD],
            [_row(rung) for rung in ladder["rungs"]],
        ),
        "",
        ladder["recommendation"]["sentence"],
        *(f"- {reason}" for reason in ladder["recommendation"]["reasons"]),
    ]
    return "\n".join(lines) + "\n"


def _row(rung: dict[str, Any]) -> list[str]:
    if rung["metric"] is None:
        return [rung["name"], f"{rung['status']}: {rung['reason']}", *[""] * (len(_HEAD) - 2)]
    gain, forgetting = rung["gain"], rung["forgetting"]
    return [
        rung["name"],
        _estimate(rung["metric"]),
        _gain(gain) if gain else "–",
        _estimate(forgetting) if forgetting else "–",
        format_count(rung["trained_parameters"]) if rung["trained_parameters"] else "–",
        format_bytes(rung["artifact_bytes"]) if rung["artifact_bytes"] else "–",
        format_bytes(rung["peak_memory_bytes"]),
        format_duration(rung["train_seconds"]) if rung["train_seconds"] else "–",
        format_duration(rung["evaluate_seconds"]),
    ]


def _gain(gain: dict[str, Any]) -> str:
    return f"{gain['difference']:+.3f} over {gain['over']} ({gain['p_adjusted']:.3g})"


def _estimate(value: dict[str, Any]) -> str:
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


if __name__ == "__main__":
    main(sys.argv[1:])
