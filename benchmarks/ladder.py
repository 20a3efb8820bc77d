"""Run a ladder and store its outcome with date, machine, versions and commit.

    python benchmarks/ladder.py [CONFIG.yaml] [section.key=value ...]

The default is examples/demo.yaml. Results: benchmarks/results/<date>-ladder-<task>.json and .md.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import luthier
from luthier.config import load_config
from luthier.core.files import read_json
from luthier.core.units import format_bytes, format_count, format_duration

ROOT = Path(__file__).parent
RESULTS = ROOT / "results"


def main(arguments: list[str]) -> None:
    """Run and store."""
    files = [text for text in arguments if "=" not in text] or ["examples/demo.yaml"]
    overrides = [text for text in arguments if "=" in text]
    result = luthier.adapt(load_config(Path(files[0]), overrides))
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    manifest = read_json(result.run.manifest)
    document = {
        "date": today,
        "command": " ".join(["python benchmarks/ladder.py", *arguments]),
        "commit": _commit(),
        "hardware": manifest["hardware"],
        "versions": manifest["versions"],
        "ladder": result.ladder.model_dump(mode="json"),
    }
    path = RESULTS / f"{today}-ladder-{result.ladder.task}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(_markdown(document), encoding="utf-8")
    print(f"{path}\n{path.with_suffix('.md')}")


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
        f"| rung | {ladder['metric']} | gain (p, Holm) | forgetting, nats/token | trained "
        "| artefact | peak memory | training | evaluation |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(rung) for rung in ladder["rungs"]),
        "",
        ladder["recommendation"]["sentence"],
        *(f"- {reason}" for reason in ladder["recommendation"]["reasons"]),
    ]
    return "\n".join(lines) + "\n"


def _row(rung: dict[str, Any]) -> str:
    if rung["metric"] is None:
        return f"| {rung['name']} | {rung['status']}: {rung['reason']} | | | | | | | |"
    gain, forgetting = rung["gain"], rung["forgetting"]
    cells = [
        rung["name"],
        _estimate(rung["metric"]),
        f"{gain['difference']:+.3f} over {gain['over']} ({gain['p_holm']:.3g})" if gain else "–",
        _estimate(forgetting) if forgetting else "–",
        format_count(rung["trained_parameters"]) if rung["trained_parameters"] else "–",
        format_bytes(rung["artifact_bytes"]) if rung["artifact_bytes"] else "–",
        format_bytes(rung["peak_memory_bytes"]),
        format_duration(rung["train_seconds"]) if rung["train_seconds"] else "–",
        format_duration(rung["evaluate_seconds"]),
    ]
    return f"| {' | '.join(cells)} |"


def _estimate(value: dict[str, Any]) -> str:
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


if __name__ == "__main__":
    main(sys.argv[1:])
