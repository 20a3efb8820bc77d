"""Hold Luthier's training loop against other libraries', side by side, in one run.

    python benchmarks/tuning.py [--kinds lora full qlora] [--steps 3] [--rounds 2]

It needs the folder that LUTHIER_DATA names, for DialogSum, and the libraries to compare with:
`pip install trl datasets litgpt`; one that is missing is left out. Every library gets the same
weights, the same first adapter (LitGPT draws its own), and the same rows in the same order. First
each is tried in several settings, as an expert would; then the fastest setting of each is measured
again, in turns, so that all see the machine's moods. Losses must agree, or the speed was bought.
Results: benchmarks/results/<date>-tuning.json and .md. Run nothing beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from common import provenance, store, table
from luthier.config import load_config
from luthier.context.manifest import hardware, versions
from luthier.context.prepare import prepare
from luthier.context.training_data import tokenised
from luthier.core.console import Console
from luthier.core.memory_pool import pool_environment
from luthier.core.units import format_bytes
from luthier.planning import TrainingSetup, read_architecture
from luthier.planning.from_config import tuning_of
from luthier.planning.memory import pass_cost
from tuning_case import Case, Kind, Measurement

_PEERS = ("transformers", "trl", "litgpt")
# Libraries that begin with the same adapter and weigh every token alike.
_SAME_MATHEMATICS = ("transformers", "trl")
_BATCH = 4
# Settings that are tried; a micro-batch is tokens for Luthier, else examples.
_SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "luthier": ({"micro_batch": 1}, {"micro_batch": 2048}, {"micro_batch": 1, "compiled": True}),
    "transformers": ({"micro_batch": 1}, {"micro_batch": 2}, {"micro_batch": 1, "compiled": True}),
    "trl": ({"micro_batch": 1}, {"micro_batch": _BATCH}, {"micro_batch": 1, "packed": True}),
    "litgpt": ({"micro_batch": 1}, {"micro_batch": 2}),
}
# For what Hugging Face's trainers compile: each layer once, for all lengths.
_LAYERS_OF_ANY_LENGTH = {
    "ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION": "true",
    "ACCELERATE_DYNAMO_USE_DYNAMIC": "true",
}
# Its quantised layers are made for CUDA alone.
_UNDEFINED = {("litgpt", "qlora")}
_RATES: dict[Kind, float] = {"lora": 5e-4, "full": 2e-5, "qlora": 5e-4}
_AGREE = 1e-3
_AIMED = ("lora", "full")
# What of a case is a library's own choice.
_CHOSEN = {"micro_batch", "packed", "compiled"}


def main(arguments: Sequence[str]) -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--kinds", nargs="+", default=list(_RATES), choices=list(_RATES))
    parser.add_argument("--steps", type=int, default=3, help="of the last measurements, timed")
    parser.add_argument("--rounds", type=int, default=5, help="of the last measurements")
    parser.add_argument("--tried", type=Path, help="an earlier result whose settings are taken")
    chosen = parser.parse_args(arguments)
    import luthier

    peak = luthier.calibrate().flops["float32"]
    with tempfile.TemporaryDirectory() as folder:
        shared, lengths = _shared(Path(folder), chosen.steps + 1)
        kinds = []
        for name in chosen.kinds:
            common = shared | {"kind": name, "learning_rate": _RATES[name]}
            tried = _tried(chosen.tried, name) if chosen.tried else _try(common)
            kinds.append(_measured(common, tried, chosen.steps, chosen.rounds))
    for kind in kinds:
        flops = _flops_per_token(kind["kind"], Path(shared["model"]), lengths)
        kind["share_of_peak"] = kind["best"]["luthier"]["tokens_per_second"] * flops / peak
    command = ["benchmarks/tuning.py", *arguments]
    extra = {name: version(name) for name in ("peft", "transformers", *_installed()[1:])}
    document = provenance(command, hardware(), versions() | extra) | {
        "peak_flops": peak,
        "tokens_per_example": statistics.mean(total for total, _ in lengths),
        "trained_per_example": statistics.mean(trained for _, trained in lengths),
        "kinds": kinds,
    }
    store("tuning", document, _markdown(document))


def _installed() -> list[str]:
    """Luthier, and the libraries that can be compared with it."""
    found = [name for name in _SETTINGS if find_spec(name)]
    if not set(_PEERS) & set(found):
        raise SystemExit(f"there is nothing to compare with; pip install {' '.join(_PEERS)}")
    return found


def _shared(folder: Path, steps: int) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """What every case has in common, and the lengths of the examples, all and trained tokens."""
    config = load_config(
        Path("examples/dialogsum.yaml"), ["data.max_length=512", f"data.num_train={_BATCH * 8}"]
    )
    setup = prepare(config, Console(quiet=True))
    rows = [(e.input_ids, e.trained) for e in tokenised(setup, "train").examples][: steps * _BATCH]
    if len(rows) < steps * _BATCH:
        raise SystemExit(f"{len(rows)} examples are too few for {steps} steps")
    file = folder / "examples.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    shared = {
        "model": str(setup.handle.folder.path),
        "examples": str(file),
        "batch": _BATCH,
        "dtype": "float32",
        "threads": os.cpu_count() or 1,
    }
    return shared, [(len(ids), sum(trained)) for ids, trained in rows]


def _tried(result: Path, kind: Kind) -> list[dict[str, Any]]:
    """The settings that an earlier run tried, of the libraries that are installed here."""
    document = json.loads(result.read_text(encoding="utf-8"))
    rows = [row for each in document["kinds"] if each["kind"] == kind for row in each["tried"]]
    if not rows:
        raise SystemExit(f"{result} has no settings of {kind}; leave --tried or {kind} out")
    installed = _installed()
    for name in sorted({row["contender"] for row in rows} - set(installed)):
        print(f"{name} is not installed and is left out", file=sys.stderr)
    return [row for row in rows if row["contender"] in installed]


def _try(common: dict[str, Any]) -> list[dict[str, Any]]:
    """Each library in each of its settings, once."""
    tried = []
    for contender in _installed():
        if (contender, common["kind"]) in _UNDEFINED:
            continue
        for settings in _SETTINGS[contender]:
            case = Case(**common, contender=contender, steps=2, **settings)
            try:
                tried.append(_row(case, [_measure(case)]))
            except RuntimeError as error:  # not every library can do everything
                print(error, file=sys.stderr)
    return tried


def _measured(
    common: dict[str, Any], tried: list[dict[str, Any]], steps: int, rounds: int
) -> dict[str, Any]:
    """The fastest settings of each library in turns, so that all see the machine's moods."""
    fastest: dict[str, dict[str, Any]] = {}
    for row in sorted(tried, key=lambda row: row["tokens_per_second"]):
        fastest[row["contender"]] = row["settings"]
    cases = {
        name: Case(**common, contender=name, steps=steps + 1, **settings)
        for name, settings in fastest.items()
    }
    measured = _in_turns(cases, rounds)
    if "luthier" not in measured or not set(_PEERS) & set(measured):
        raise SystemExit(f"of {', '.join(cases)}, only these run: {', '.join(measured) or 'none'}")
    best = {name: _row(cases[name], measured[name]) for name in measured}
    profiled = _measure(cases["luthier"].model_copy(update={"profiled": True, "steps": 2}))
    peer = max(
        (name for name in best if name in _PEERS),
        key=lambda name: best[name]["tokens_per_second"],
    )
    ours, theirs = best["luthier"], best[peer]
    return {
        "kind": common["kind"],
        "tried": tried,
        "best": best,
        "peer": peer,
        # Of each round by itself: between rounds the machine's speed changes by more.
        "speed_ratio": statistics.median(
            a / b for a, b in zip(ours["every"], theirs["every"], strict=True)
        ),
        "memory_ratio": ours["peak_bytes"] / theirs["peak_bytes"],
        "losses_agree": _agree(best),
        "where": profiled.where,
    }


def _in_turns(cases: Mapping[str, Case], rounds: int) -> dict[str, list[Measurement]]:
    """Every case once a round. A library that does not run, or stops to, is left out."""
    measured: dict[str, list[Measurement]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name in list(measured):
            try:
                measured[name].append(_measure(cases[name]))
            except RuntimeError as error:  # it may be installed without what it needs
                print(error, file=sys.stderr)
                del measured[name]
    return measured


def _measure(case: Case) -> Measurement:
    """In a process that nothing else has used; Luthier in its heap, as its command runs."""
    settings = _shown(case.model_dump(include=_CHOSEN))
    command = [sys.executable, str(Path(__file__).with_name("tune_contender.py"))]
    heap = pool_environment() if case.contender == "luthier" else {}
    result = subprocess.run(
        [*command, case.model_dump_json()],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | _LAYERS_OF_ANY_LENGTH | heap,
    )
    if result.returncode:
        raise RuntimeError(
            f"{case.kind} {case.contender} {settings} does not run: {result.stderr.strip()[-2000:]}"
        )
    measured = Measurement.model_validate_json(result.stdout.strip().splitlines()[-1])
    print(
        f"{case.kind} {case.contender} {settings}: "
        f"{measured.tokens_per_second:.1f} tokens/s, {format_bytes(measured.peak_bytes)}",
        file=sys.stderr,
    )
    return measured


def _row(case: Case, runs: Sequence[Measurement]) -> dict[str, Any]:
    return {
        "contender": case.contender,
        "settings": case.model_dump(include=_CHOSEN),
        "tokens_per_second": statistics.median(run.tokens_per_second for run in runs),
        "every": [run.tokens_per_second for run in runs],
        "peak_bytes": max(run.peak_bytes for run in runs),
        "start_seconds": statistics.median(run.start_seconds for run in runs),
        "losses": runs[0].losses,
    }


def _agree(best: dict[str, dict[str, Any]]) -> bool:
    """Whether all losses of libraries that see the same batches are the same."""
    ours = best["luthier"]["losses"]
    others = [
        best[name]["losses"]
        for name in _SAME_MATHEMATICS
        if name in best and not best[name]["settings"]["packed"]
    ]
    return bool(others) and all(
        abs(a - b) <= _AGREE * a for losses in others for a, b in zip(ours, losses, strict=True)
    )


def _flops_per_token(kind: Kind, model: Path, lengths: Sequence[tuple[int, int]]) -> float:
    """What the mathematics needs of an average example, with logits at trained positions alone."""
    from luthier.config import MethodsConfig
    from luthier.core.files import read_json

    architecture = read_architecture(read_json(model / "config.json"), str(model))
    length = round(statistics.mean(total for total, _ in lengths))
    setup = TrainingSetup(
        tuning_of(kind, MethodsConfig(), architecture),
        length=length,
        predicted=round(statistics.mean(trained for _, trained in lengths)),
    )
    cost = pass_cost(architecture, setup)
    return (cost.forward_flops + cost.backward_flops) / length


def _markdown(document: dict[str, Any]) -> str:
    machine = document["hardware"]
    lines = [
        f"# Tuning side by side, {document['date']}",
        "",
        f"`{document['command']}` at commit {document['commit']}. {machine['name']}, "
        f"{machine['cores']} cores; products of a layer reach {document['peak_flops'] / 1e9:.0f} "
        f"GFLOP/s. SmolLM2-135M in float32 (this processor multiplies bfloat16 more slowly), LoRA "
        f"of rank 8 on all linear layers; DialogSum, {_BATCH} examples a step, "
        f"{document['tokens_per_example']:.0f} tokens each, of which "
        f"{document['trained_per_example']:.0f} are trained. "
        + ", ".join(f"{k} {v}" for k, v in document["versions"].items()),
    ]
    for kind in document["kinds"]:
        lines += ["", f"## {kind['kind']}", "", *_verdict(kind), "", *_table(kind["best"].values())]
        lines += ["", "Settings that were tried, one timed step each:", ""]
        lines += _table(kind["tried"])
    return "\n".join(lines) + "\n"


def _verdict(kind: dict[str, Any]) -> list[str]:
    aim = " (aim: 3 and 0.6)" if kind["kind"] in _AIMED else ""
    agree = "agree" if kind["losses_agree"] else "DO NOT agree"
    where = sorted(kind["where"].items(), key=lambda item: -item[1])
    return [
        f"**{kind['speed_ratio']:.2f} times the speed and {kind['memory_ratio']:.2f} of the peak "
        f"memory of the faster peer, {kind['peer']}**{aim}. Losses {agree} within "
        f"{_AGREE:g}. Luthier reaches {kind['share_of_peak']:.0%} of the products' peak; its time: "
        + ", ".join(f"{name} {share:.0%}" for name, share in where)
        + ".",
    ]


def _shown(settings: dict[str, Any], unit: str = "") -> str:
    """The size of a forward pass, and what else was chosen."""
    chosen = [name for name in ("packed", "compiled") if settings[name]]
    return ", ".join([f"{settings['micro_batch']}{unit}", *chosen])


def _table(rows: Any) -> list[str]:
    head = ("library", "micro-batch", "tokens/s", "each", "peak memory", "start", "losses")
    return table(
        head,
        [
            [
                row["contender"],
                _shown(row["settings"], " tokens" if row["contender"] == "luthier" else ""),
                f"{row['tokens_per_second']:.1f}",
                ", ".join(f"{value:.1f}" for value in row["every"]),
                format_bytes(row["peak_bytes"]),
                f"{row['start_seconds']:.1f} s",
                ", ".join(f"{loss:.4f}" for loss in row["losses"]),
            ]
            for row in rows
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
