"""Every tuning method on one task, and LoRA by rank: size, memory, time, quality, forgetting.

    python benchmarks/methods.py [--config CONFIG.yaml] [--only NAME ...] [section.key=value ...]
    python benchmarks/methods.py --stage methods|ranks|report
    python benchmarks/methods.py --config benchmarks/methods-t5.yaml --stage methods model.id=FOLDER

Each is a rung of `luthier adapt` in a process of its own, so that its peak of memory is its own,
and its outcome is appended to FOLDER/measured.jsonl. What stands there already is not measured
again, and a training that was interrupted goes on from its checkpoint. `report` writes
benchmarks/results/<date>-methods.json and .md, and <date>-lora-ranks.json, .md and .svg; another
configuration's results have its name. Run nothing beside it: time is measured too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common import RESULTS, commit, provenance, store, table
from luthier.config import load_config
from luthier.core.cache import cache_folder
from luthier.core.console import Console
from luthier.core.errors import PreemptedError
from luthier.core.files import append_line, read_lines
from luthier.core.method_facts import METHOD_NAMES, MethodName
from luthier.core.seeds import fingerprint
from luthier.core.units import format_bytes, format_count, format_duration
from rank_plot import draw_ranks

Row = Mapping[str, Any]
_STAGES = ("methods", "ranks", "report")
_BASELINE = "zero-shot"
_RANKS = tuple(2**power for power in range(9))
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: a method, or the untuned model; with settings beside the configuration."""

    name: str
    method: MethodName | None = None
    settings: tuple[str, ...] = ()

    def key(self, config: Path) -> str:
        """A fingerprint of all that decides its outcome but the code.

        Settings of other methods do not count, so that a new one leaves what is measured valid.
        """
        settings = load_config(config, list(self.settings))
        own = settings.methods.of(self.method).model_dump_json() if self.method else ""
        others = settings.model_dump_json(exclude={"adapt", "output", "method", "methods"})
        return fingerprint(self.method or "", own, others)


def _rank(rank: int) -> Case:
    """LoRA of a rank; alpha / rank, the scale of its update, stays as it is by default."""
    return Case(
        f"rank-{rank}", "lora", (f"methods.lora.rank={rank}", f"methods.lora.alpha={2 * rank}")
    )


CASES: dict[str, tuple[Case, ...]] = {
    "methods": (Case(_BASELINE), *(Case(name, name) for name in METHOD_NAMES)),
    "ranks": (Case(_BASELINE), *map(_rank, _RANKS)),
}


def main(arguments: Sequence[str]) -> None:
    """Measure and report, or one of them."""
    here = Path(__file__).parent
    names = [case.name for cases in CASES.values() for case in cases]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--stage", choices=_STAGES, help="one of them; by default, all")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--config", type=Path, default=here / "methods.yaml")
    parser.add_argument("--folder", type=Path, default=cache_folder() / "benchmarks" / "methods")
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    chosen = parser.parse_intermixed_args(arguments)
    tables = {
        stage: [replace(case, settings=(*chosen.overrides, *case.settings)) for case in cases]
        for stage, cases in CASES.items()
    }
    for stage in (chosen.stage,) if chosen.stage else _STAGES:
        if stage == "report":
            command = ["benchmarks/methods.py", *arguments]
            report(tables, chosen.config, chosen.overrides, chosen.folder, command)
        else:
            cases = [case for case in tables[stage] if case.name in (chosen.only or names)]
            measure(cases, chosen.config, chosen.folder)


def measure(cases: Sequence[Case], config: Path, folder: Path) -> None:
    """Measure what is not measured yet; what failed is told, kept, and tried again later."""
    folder.mkdir(parents=True, exist_ok=True)
    console, results = Console(), folder / "measured.jsonl"
    done = {line["key"] for line in read_lines(results) if _rung(line)}
    # A rank may have the settings of another case: what is equal is measured once.
    waiting = [case for case in cases if case.key(config) not in done]
    console.say(f"{len(cases)} to measure, {len(cases) - len(waiting)} of them measured before")
    for number, case in enumerate(waiting, start=1):
        started = time.monotonic()
        about = {"key": case.key(config), "commit": commit()}
        line = about | _in_own_process(case, config, folder)
        append_line(results, line)
        rung, took = _rung(line), format_duration(time.monotonic() - started)
        what = _estimate(rung["metric"]) if rung else f"failed: {line['error']}"
        console.say(f"{number}/{len(waiting)} {case.name}: {what}, in {took}")


def _in_own_process(case: Case, config: Path, folder: Path) -> dict[str, Any]:
    """Climb a ladder of one rung in a process that nothing else has used.

    Rungs of equal settings share a run directory, as `luthier adapt` names it, and with it what is
    measured of the base model.
    """
    settings = (*case.settings, f"output={folder / 'runs'}")
    command = [sys.executable, "-m", "luthier", "adapt", str(config), *settings]
    command += ["--rungs", case.method or _BASELINE, "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode in (PreemptedError.exit_code, _INTERRUPTED) or result.returncode < 0:
        raise SystemExit(f"{case.name} was interrupted; run the same command again to go on")
    if result.returncode:
        return {"error": _reason(result.stderr.splitlines())}
    ladder = json.loads(result.stdout)
    (rung,) = ladder["rungs"]
    return {"ladder": ladder} if rung["metric"] else {"error": rung["reason"]}


def _reason(lines: Sequence[str]) -> str:
    """What a command says went wrong: its error, or the last line of a traceback."""
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or list(lines[-1:]) or ["no reason was given"])[-1]


def _rung(line: Row) -> Row | None:
    """The record of a measured rung."""
    return line["ladder"]["rungs"][0] if "ladder" in line else None


def report(
    tables: Mapping[str, Sequence[Case]],
    config: Path,
    overrides: Sequence[str],
    folder: Path,
    command: Sequence[str],
) -> None:
    """Store what is measured of each table, if there is anything to compare."""
    from luthier.context.manifest import hardware, versions

    latest = {line["key"]: line for line in read_lines(folder / "measured.jsonl")}
    head = provenance(command, hardware(), versions())
    settings = load_config(config, list(overrides)).model_dump(mode="json")
    settings["model"]["id"] = Path(settings["model"]["id"]).name
    for stage, cases in tables.items():
        lines = {case.name: latest.get(case.key(config)) for case in cases}
        found = {name: line for name, line in lines.items() if line}
        rungs = {name: rung for name, line in found.items() if (rung := _rung(line))}
        if len(rungs.keys() - {_BASELINE}) < 2:  # one case may belong to another table
            continue
        first = next(line["ladder"] for line in found.values() if "ladder" in line)
        document = head | {
            "measured_at": sorted({line["commit"] for line in found.values()}),
            "config": settings,
            **{name: first[name] for name in ("task", "metric", "model", "examples")},
            "rows": [{**rung, "name": name} for name, rung in rungs.items()],
            "failed": {name: line["error"] for name, line in found.items() if "error" in line},
            "not_measured": [name for name, line in lines.items() if line is None],
        }
        if stage == "methods":
            store(config.stem, document, _markdown("Tuning methods", document, _METHODS_TEXT))
        else:
            _store_ranks(document)


_METHODS_TEXT = (
    "Every method has its own default settings, the learning rate included: another learning rate "
    "or more examples can change the order. Selective trains the feed-forward layers of the "
    "model's upper half."
)
_RANKS_TEXT = (
    "LoRA on all linear layers; alpha is twice the rank, so that the update keeps its scale."
)


def _store_ranks(document: dict[str, Any]) -> None:
    plot = RESULTS / f"{document['date']}-lora-ranks.svg"
    picture = f"![quality, forgetting and trained parameters by rank]({plot.name})"
    text = f"{_RANKS_TEXT}\n\n{picture}"
    store("lora-ranks", document, _markdown("LoRA by rank", document, text))
    rows = {row["name"]: row for row in document["rows"]}
    ranks = {rank: rows[_rank(rank).name] for rank in _RANKS if _rank(rank).name in rows}
    draw_ranks(plot, document["metric"], ranks, rows.get(_BASELINE))
    print(plot)


def _markdown(title: str, document: Row, text: str) -> str:
    machine, model, examples = document["hardware"], document["model"], document["examples"]
    lines = [
        f"# {title}, {document['date']}",
        "",
        f"`{document['command']}` at commit {document['commit']}; measured at "
        f"{', '.join(document['measured_at'])}.",
        "",
        f"Machine: {machine['name']}, {machine['cores']} cores, "
        f"{format_bytes(machine['memory_bytes'])}. Model: {model['id']} ({model['dtype']}). "
        f"Task: {document['task']}, {examples['train']} examples to train on, "
        f"{examples['test']} held out to measure with. Brackets are "
        f"{document['config']['evaluate']['confidence']:.0%} intervals.",
        "",
        text,
        "",
        *table([name.format(**document) for name in _COLUMNS], map(_cells, document["rows"])),
        "",
        "Memory is the highest resident size while training, time that of training with its "
        "validation; the losses are in nats per trained token, of the first and the last step, and "
        "on the validation examples at the end.",
    ]
    if document["failed"]:
        lines += ["", *(f"- {name}: {why}." for name, why in document["failed"].items())]
    if document["not_measured"]:
        lines += ["", f"Not measured: {', '.join(document['not_measured'])}."]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> list[str]:
    return [show(row) for show in _COLUMNS.values()]


def _trained(show: Callable[[Row], str]) -> Callable[[Row], str]:
    """Of a rung's training; a dash where there was none."""
    return lambda row: show(row["training"]) if row["training"] else "–"


def _estimate(value: Row | None) -> str:
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]" if value else "–"


def _losses(values: Iterable[float | None]) -> str:
    return " → ".join(f"{value:.3f}" for value in values if value is not None)


_COLUMNS: dict[str, Callable[[Row], str]] = {
    "": lambda row: row["name"],
    "{metric}": lambda row: _estimate(row["metric"]),
    "forgetting, nats/token": lambda row: _estimate(row["forgetting"]),
    "trained": _trained(lambda one: format_count(one["trained_parameters"])),
    "of all": _trained(lambda one: f"{one['trained_parameters'] / one['total_parameters']:.3%}"),
    "artifact": _trained(lambda one: format_bytes(one["artifact_bytes"])),
    "peak memory": _trained(lambda one: format_bytes(one["peak_memory_bytes"])),
    "training": _trained(lambda one: format_duration(one["seconds"])),
    "loss": _trained(lambda one: _losses((one["first_loss"], one["last_loss"]))),
    "validation": _trained(lambda one: _losses([one["best_validation_loss"]])),
}


if __name__ == "__main__":
    main(sys.argv[1:])
