"""Hold the planner against measured training steps: memory and time of a matrix of configurations.

    python benchmarks/plan.py measure [--folder FOLDER] [--rows 60] [--only 6] [--heap glibc]
    python benchmarks/plan.py report [--folder FOLDER]

`measure` runs every configuration of `matrix.design` in a process of its own and appends what it
took to FOLDER/measured.jsonl; what stands there already is not measured again, so an interrupted
run goes on. `report` predicts each row anew and writes benchmarks/results/<date>-plan.json and .md.
Run nothing beside it: time is measured too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import commit, provenance, store, table
from luthier.config import MethodsConfig, RunConfig
from luthier.core.cache import cache_folder
from luthier.core.console import Console
from luthier.core.files import append_line, read_json, read_lines
from luthier.core.memory_pool import pool_environment
from luthier.core.units import format_bytes, format_duration
from luthier.planning import TrainingSetup, plan_training, read_architecture
from luthier.planning.from_config import tuning_of
from luthier.planning.hardware import Cluster, find_device, this_cpu
from luthier.planning.memory import pass_cost
from luthier.planning.overhead import CUDA, GLIBC_CPU, POOLED_CPU
from luthier.planning.time import step_time
from luthier.planning.training_setup import precision_in_memory
from matrix import AXES, Case, design
from models import model_folder

_GIB = 2**30
# What `luthier tune` runs in where it can, and what a Python program runs in.
HEAPS = {"pool": POOLED_CPU, "glibc": GLIBC_CPU}
_ROW_SECONDS = 900.0
# With a higher load before it, other work ran beside a row: its memory counts, its time does not.
_LOAD_ALONE = (os.cpu_count() or 1) + 1.0
# What the planner promises: median and worst error of peak memory, median error of time.
_MEDIAN, _WORST, _TIME = 0.05, 0.10, 0.20


def main(arguments: Sequence[str]) -> None:
    """Measure or report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("stage", choices=["measure", "report"])
    parser.add_argument("--folder", type=Path, default=cache_folder() / "benchmarks" / "plan")
    parser.add_argument("--rows", type=int, default=60, help="rows of the matrix, at least")
    parser.add_argument("--only", type=int, help="measure the first rows alone")
    parser.add_argument(
        "--heap", choices=HEAPS, default="pool", help="whose allocator to use on a CPU"
    )
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    if chosen.stage == "measure":
        measure(chosen.folder, chosen.rows, chosen.only, chosen.heap)
    else:
        report(chosen.folder, ["benchmarks/plan.py", *arguments])


def measure(folder: Path, rows: int, only: int | None, heap: str) -> None:
    """Measure what is not measured yet; a row that fails is told, kept, and tried again later."""
    from luthier.models.device import default_device, has_fast_bfloat16

    console, results = Console(), folder / "measured.jsonl"
    done = {_key(line) for line in read_lines(results) if "measured" in line}
    cases = design(at_least=rows, fast_bfloat16=has_fast_bfloat16(default_device()))[:only]
    waiting = [case for case in cases if (case.key, heap) not in done]
    # What may have to be emulated comes last: an interrupted run has most rows then.
    waiting.sort(key=lambda case: case.dtype == "bfloat16")
    console.say(f"{len(cases)} configurations, {len(cases) - len(waiting)} of them measured before")
    models = {case.model: model_folder(case.model, folder, console) for case in waiting}
    for number, case in enumerate(waiting, start=1):
        started = time.monotonic()
        outcome = _in_own_process(case, models[case.model], heap)
        about = {"key": case.key, "heap": heap, "case": case.model_dump(), "commit": commit()}
        line = about | outcome
        append_line(results, line)
        what = (
            format_bytes(outcome["measured"]["peak_bytes"])
            if "measured" in outcome
            else f"failed: {outcome['error']}"
        )
        took = format_duration(time.monotonic() - started)
        console.say(f"{number}/{len(waiting)} {case.key}: {what}, in {took}")


def _key(line: dict[str, Any]) -> tuple[str, str]:
    return line["key"], line["heap"]


def _in_own_process(case: Case, model: Path, heap: str) -> dict[str, Any]:
    """Measure in a process that nothing else has used."""
    script = str(Path(__file__).with_name("measure_step.py"))
    growth = predict(case, model, "cpu", heap).growth
    command = [sys.executable, script, case.model_dump_json(), str(model), str(growth)]
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=_ROW_SECONDS,
            env=os.environ | (pool_environment() if heap == "pool" else {}),
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not finished after {format_duration(_ROW_SECONDS)}"}
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        return {"error": lines[-1]}
    return {"measured": json.loads(result.stdout.strip().splitlines()[-1])}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the planner says of one configuration.

    Attributes:
        allocated: bytes of tensors.
        reserved: bytes that the allocator takes for them.
        growth: of the allocated bytes, those beside the weights.
        framework: bytes before the first tensor.
        seconds: of an optimizer step; None where it is not planned.
    """

    allocated: int
    reserved: int
    growth: int
    framework: int
    seconds: float | None


def predict(case: Case, model: Path, device: str, heap: str) -> Prediction:
    """Plan one configuration from the model's ``config.json``, without its weights."""
    path = model / "config.json"
    architecture = read_architecture(read_json(path), str(path))
    first = case.lengths[: case.micro_batch]
    trained = [case.num_trained(length) for length in first]
    encodes = architecture.is_encoder_decoder
    setup = TrainingSetup(
        tuning=tuning_of(case.method, MethodsConfig(), architecture),
        precision=precision_in_memory(
            RunConfig().base_of(case.method).quantisation, dtype=case.dtype
        ),
        checkpointing="full" if case.checkpointing else "none",
        batch=case.micro_batch,
        length=case.length,
        target_length=max(trained) if encodes else 0,
        # Of a decoder-only model nothing predicts the first token.
        predicted=sum(min(n, t if encodes else t - 1) for n, t in zip(trained, first, strict=True)),
        accumulation=2,
        padded=case.padded,
        on_cpu=device == "cpu",
        fused_loss=True,
    )
    plan = plan_training(architecture, setup, HEAPS[heap] if device == "cpu" else CUDA)
    cluster = Cluster(this_cpu() if device == "cpu" else find_device(device))
    seconds = step_time(setup, cluster, pass_cost(architecture, setup)).seconds
    growth = plan.allocated - plan.weights
    return Prediction(plan.allocated, plan.reserved, growth, plan.framework.expected, seconds)


def report(folder: Path, command: Sequence[str]) -> None:
    """Predict every measured row, and store the comparison."""
    from luthier.context.manifest import hardware, versions

    latest = {_key(line): line for line in read_lines(folder / "measured.jsonl")}
    console = Console()
    rows = [
        _row(line, model_folder(line["case"]["model"], folder, console))
        for line in latest.values()
        if "measured" in line
    ]
    failed = [line for line in latest.values() if "measured" not in line]
    document = provenance(command, hardware(), versions()) | {
        "measured_at": sorted({line["commit"] for line in latest.values()}),
        "summary": {
            heap: {
                name: _errors([row for row in rows if row["heap"] == heap], name)
                for name in _ERRORS
            }
            for heap in HEAPS
        },
        "rows": rows,
        "failed": failed,
    }
    store("plan", document, _markdown(document))


def _row(line: dict[str, Any], model: Path) -> dict[str, Any]:
    case, measured = Case.model_validate(line["case"]), line["measured"]
    predicted = predict(case, model, measured["device"], line["heap"])
    on_cpu = measured["device"] == "cpu"
    # A CUDA device's peak is what the allocator reserved, without the driver's own share.
    peak = measured["peak_bytes"] if on_cpu else measured["reserved_bytes"]
    tensors = measured["peak_bytes"] - measured["baseline_bytes"]
    expected = predicted.reserved + (predicted.framework if on_cpu else 0)
    expected_tensors = predicted.reserved if on_cpu else predicted.allocated
    seconds = statistics.median(measured["seconds"])
    alone = measured["load_average"] <= _LOAD_ALONE
    timed = predicted.seconds if alone else None
    return case.model_dump() | {
        "heap": line["heap"],
        "measured_peak_gib": peak / _GIB,
        "predicted_peak_gib": expected / _GIB,
        "peak_error": expected / peak - 1,
        "measured_above_baseline_gib": tensors / _GIB,
        "predicted_above_baseline_gib": expected_tensors / _GIB,
        "above_baseline_error": expected_tensors / tensors - 1,
        "measured_seconds": seconds,
        "predicted_seconds": predicted.seconds,
        "seconds_error": timed / seconds - 1 if timed else None,
        "measured": measured,
    }


_ERRORS = {
    "peak_error": "peak memory",
    "above_baseline_error": "peak memory above the baseline",
    "seconds_error": "seconds of a step",
}


def _errors(rows: Sequence[dict[str, Any]], name: str) -> dict[str, float | int] | None:
    """Median and worst size of an error, its median with its sign, and how many are large."""
    errors = [row[name] for row in rows if row[name] is not None]
    if not errors:
        return None
    sizes = [abs(error) for error in errors]
    return {
        "rows": len(errors),
        "median": statistics.median(sizes),
        "worst": max(sizes),
        "signed_median": statistics.median(errors),
        "above_worst_allowed": sum(size > _WORST for size in sizes),
    }


def _markdown(document: dict[str, Any]) -> str:
    machine, rows = document["hardware"], document["rows"]
    lines = [
        f"# Planner against measurement, {document['date']}",
        "",
        f"`{document['command']}` at commit {document['commit']}; measured at "
        f"{', '.join(document['measured_at'])}.",
        "",
        f"Machine: {machine['name']}, {machine['cores']} cores, "
        f"{format_bytes(machine['memory_bytes'])}. {len(rows)} configurations were measured, "
        f"{len(document['failed'])} failed. Goals: median error of peak memory at most "
        f"{_MEDIAN:.0%}, worst {_WORST:.0%}; median error of time {_TIME:.0%}.",
        "",
        "An error is predicted over measured, minus one. The baseline is the interpreter with "
        "everything imported, before the model is loaded. A step has two micro-batches. Time "
        "counts where no other work ran beside.",
        "",
        *table(_SUMMARY_HEAD, _summary_rows(document["summary"])),
        "",
        "## By level",
        "",
        *table(_LEVEL_HEAD, _level_rows(rows)),
        "",
        "## Rows, the largest error first",
        "",
        *table(list(_COLUMNS), [[show(row) for show in _COLUMNS.values()] for row in _worst(rows)]),
        *(f"- failed: {line['key']}: {line['error']}" for line in document["failed"]),
    ]
    return "\n".join(lines) + "\n"


_SUMMARY_HEAD = ("error of", "rows", "median", "worst", "signed median", f"above {_WORST:.0%}")


def _summary_rows(summary: dict[str, dict[str, Any]]) -> list[list[str]]:
    return [
        _summary_row(f"{what}, heap {heap}", errors[name])
        for heap, errors in summary.items()
        for name, what in _ERRORS.items()
        if errors[name]
    ]


def _summary_row(name: str, errors: dict[str, float | int] | None) -> list[str]:
    if errors is None:
        return [name, "0", *["–"] * 4]
    return [
        name,
        str(errors["rows"]),
        f"{errors['median']:.1%}",
        f"{errors['worst']:.1%}",
        f"{errors['signed_median']:+.1%}",
        str(errors["above_worst_allowed"]),
    ]


_LEVEL_HEAD = ("level", "rows", "peak: median", "worst", "signed", "above baseline: median")


def _level_rows(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Errors of the rows that share a level, for every level that was measured."""
    shown = []
    for axis, levels in (AXES | {"heap": tuple(HEAPS)}).items():
        for level in levels:
            own = [row for row in rows if row[axis] == level]
            peak, above = _errors(own, "peak_error"), _errors(own, "above_baseline_error")
            if peak and above:
                cells = _summary_row(f"{axis} {level}", peak)[:-1]
                shown.append([*cells, f"{above['median']:.1%}"])
    return shown


def _worst(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: -abs(row["peak_error"]))


def _figure(name: str, style: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: "–" if row[name] is None else format(row[name], style)


_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    **{axis.replace("_", "-"): _figure(axis, "") for axis in AXES},
    "heap": _figure("heap", ""),
    "measured GiB": _figure("measured_peak_gib", ".3f"),
    "predicted GiB": _figure("predicted_peak_gib", ".3f"),
    "error": _figure("peak_error", "+.1%"),
    "above baseline": _figure("measured_above_baseline_gib", ".3f"),
    "predicted": _figure("predicted_above_baseline_gib", ".3f"),
    "its error": _figure("above_baseline_error", "+.1%"),
    "seconds": _figure("measured_seconds", ".2f"),
    "predicted s": _figure("predicted_seconds", ".2f"),
    "error of time": _figure("seconds_error", "+.0%"),
}


if __name__ == "__main__":
    main(sys.argv[1:])
