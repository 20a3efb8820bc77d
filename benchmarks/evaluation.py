"""Hold Luthier's scores against those of lm-evaluation-harness: the same numbers, how much faster?

    python benchmarks/evaluation.py --peer PYTHON [--questions 40] [--suites mmlu mmlu-whole ...]

PYTHON is an interpreter that has lm-eval, in an environment of its own. The folder that
LUTHIER_DATA names holds MMLU, LAMBADA and COPA. Both score the same tokens with the bundled model
in float32. lm-eval is first tried with several batch sizes on a part of the requests; then both
are measured in turns, each time in a process of its own. Log-probabilities must agree, and the
choices must be the same. Results: benchmarks/results/<date>-evaluation.json and .md. Run nothing
beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import provenance, store, table
from evaluation_data import FIRST_SUBJECTS, SPREAD_SUBJECTS, SUITES, Question
from luthier.config import ModelConfig
from luthier.context.manifest import hardware, versions
from luthier.core.console import Console
from luthier.core.units import format_bytes, format_duration
from luthier.models.load import open_model
from models import BUNDLED

_AIM = 8.0
# Nats a token: torch's log_softmax over a wide vocabulary, which lm-eval takes, rounds each by
# about 2e-5 in float32.
_AGREE = 1e-4
# About how many questions are asked when batch sizes are tried, spread over the suite.
_TRIED = 50
_HOW_TO = """there is no lm-eval in {peer}. Make an environment for it:
    python -m venv /tmp/lm-eval && /tmp/lm-eval/bin/pip install 'lm-eval[hf]'
and give --peer /tmp/lm-eval/bin/python"""


@dataclass(frozen=True, slots=True)
class Suite:
    """Questions, and the requests they make, one for each choice."""

    name: str
    questions: Sequence[Question]
    model: Path
    encode: Any

    def requests(self) -> list[tuple[str, str, list[int], list[int]]]:
        """Texts and tokens. Both are encoded together and then cut, as lm-eval does."""
        requests = []
        for question in self.questions:
            context = self.encode(question.context)["input_ids"]
            for choice in question.choices:
                whole = self.encode(question.context + choice)["input_ids"]
                requests.append((question.context, choice, context, whole[len(context) :]))
        return requests

    def choices(self, scores: Sequence[Sequence[Any]]) -> list[int]:
        """The likeliest choice of each question; of a single one, whether it is the greedy one."""
        made, rest = [], iter(scores)
        for question in self.questions:
            own = [next(rest) for _ in question.choices]
            logprobs = [logprob for logprob, _ in own]
            made.append(logprobs.index(max(logprobs)) if len(own) > 1 else int(own[0][1]))
        return made


def main(arguments: Sequence[str]) -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--peer", required=True, help="an interpreter that has lm-eval")
    parser.add_argument("--suites", nargs="+", default=list(SUITES), choices=list(SUITES))
    parser.add_argument(
        "--questions",
        type=int,
        default=40,
        help="of each subject in mmlu and mmlu-written; ten times as many of lambada and copa",
    )
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args(arguments)
    version = peer_version(chosen.peer)
    suites = [_suite(name, chosen.questions) for name in chosen.suites]
    rows = [_compare(suite, chosen.peer, chosen.batch_sizes, chosen.rounds) for suite in suites]
    command = ["benchmarks/evaluation.py", *arguments]
    document = provenance(command, hardware(), versions() | {"lm-eval": version}) | {
        "subjects": {
            "mmlu": SPREAD_SUBJECTS,
            "mmlu-whole": FIRST_SUBJECTS,
            "mmlu-written": FIRST_SUBJECTS,
        },
        "rows": rows,
    }
    store("evaluation", document, _markdown(document))


def peer_version(peer: str) -> str:
    """The version of lm-eval that an interpreter has."""
    code = "from importlib.metadata import version; import lm_eval; print(version('lm-eval'))"
    try:
        result = subprocess.run([peer, "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(_HOW_TO.format(peer=peer)) from error
    return result.stdout.strip()


def _suite(name: str, questions: int) -> Suite:
    root = os.environ.get("LUTHIER_DATA")
    if not root or not Path(root).is_dir():
        raise SystemExit("LUTHIER_DATA does not name the folder with mmlu, lambada and superglue")
    count = questions if name.startswith("mmlu") else 10 * questions
    handle = open_model(ModelConfig(id=BUNDLED), Console(quiet=True))
    return Suite(name, list(SUITES[name](Path(root), count)), handle.folder.path, handle.tokenizer)


def _compare(suite: Suite, peer: str, batch_sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    """Find the peer's best batch size, then measure both in turns."""
    step = max(1, len(suite.questions) // _TRIED)
    some = Suite(suite.name, suite.questions[::step], suite.model, suite.encode)
    tried = {size: _measure("lm-eval", peer, some, size)["seconds"] for size in batch_sizes}
    best = min(tried, key=tried.__getitem__)
    runs: dict[str, list[dict[str, Any]]] = {"luthier": [], "lm-eval": []}
    for _ in range(rounds):
        runs["luthier"].append(_measure("luthier", sys.executable, suite, 0))
        runs["lm-eval"].append(_measure("lm-eval", peer, suite, best))
    ours, theirs = runs["luthier"][0]["scores"], runs["lm-eval"][0]["scores"]
    requests = suite.requests()
    differences = [
        abs(a[0] - b[0]) / len(ids) for a, b, (*_, ids) in zip(ours, theirs, requests, strict=True)
    ]
    seconds = {n: statistics.median(run["seconds"] for run in own) for n, own in runs.items()}
    peaks = {name: max(run["peak_bytes"] for run in own) for name, own in runs.items()}
    return {
        "suite": suite.name,
        "questions": len(suite.questions),
        "requests": len(ours),
        "tokens": sum(len(context) + len(rest) for *_, context, rest in requests),
        "tried": tried,
        "batch_size": best,
        "seconds": seconds,
        "every": {name: [run["seconds"] for run in own] for name, own in runs.items()},
        "peak_bytes": peaks,
        "speed_ratio": seconds["lm-eval"] / seconds["luthier"],
        "memory_ratio": peaks["luthier"] / peaks["lm-eval"],
        "largest_difference": max(differences),
        "other_choices": sum(
            a != b for a, b in zip(suite.choices(ours), suite.choices(theirs), strict=True)
        ),
    }


def _measure(name: str, python: str, suite: Suite, batch_size: int) -> dict[str, Any]:
    """In a process that nothing else has used."""
    with tempfile.TemporaryDirectory() as folder:
        requests = Path(folder) / "requests.json"
        requests.write_text(json.dumps(suite.requests()), encoding="utf-8")
        case = {
            "model": str(suite.model),
            "requests": str(requests),
            "batch_size": batch_size,
            "threads": os.cpu_count() or 1,
        }
        script = str(Path(__file__).with_name("evaluation_contender.py"))
        command = [python, script, name, json.dumps(case)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{name}: {result.stderr.strip()[-2000:]}")
    measured: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    print(
        f"{suite.name} {name} {batch_size or ''}: {len(measured['scores'])} requests in "
        f"{format_duration(measured['seconds'])}, {format_bytes(measured['peak_bytes'])}",
        file=sys.stderr,
    )
    return measured


def _markdown(document: dict[str, Any]) -> str:
    machine = document["hardware"]
    lines = [
        f"# Scoring side by side, {document['date']}",
        "",
        f"`{document['command']}` at commit {document['commit']}. {machine['name']}, "
        f"{machine['cores']} cores. SmolLM2-135M in float32; 5-shot MMLU (mmlu: some questions of "
        f"{len(SPREAD_SUBJECTS)} subjects, mmlu-whole: all of {len(FIRST_SUBJECTS)}, mmlu-written: "
        f"some of these {len(FIRST_SUBJECTS)}, answers written out), the last words of LAMBADA, "
        "COPA. lm-eval's HF backend with its grouping, at the fastest of the batch sizes tried. "
        "Both score the same tokens. "
        + ", ".join(f"{k} {v}" for k, v in document["versions"].items())
        + ".",
        "",
        *(_verdict(row) for row in document["rows"]),
        "",
        *table(_HEAD, [cells for row in document["rows"] for cells in _cells(row)]),
    ]
    return "\n".join(lines) + "\n"


_HEAD = ("suite", "library", "batch size", "seconds", "each", "requests/s", "peak memory")


def _verdict(row: dict[str, Any]) -> str:
    aim = f" (aim: {_AIM:g})" if row["suite"].startswith("mmlu") else ""
    agree = "agree" if row["largest_difference"] <= _AGREE else "DO NOT agree"
    return (
        f"- **{row['suite']}: {row['speed_ratio']:.1f} times the speed{aim}, "
        f"{row['memory_ratio']:.2f} of the peak memory.** {row['questions']} questions, "
        f"{row['requests']} requests, {row['tokens']:,} tokens. Log-probabilities {agree} within "
        f"{_AGREE:g} nats a token (largest difference {row['largest_difference']:.1e}), "
        f"{row['other_choices']} choices differ."
    )


def _cells(row: dict[str, Any]) -> list[list[str]]:
    tried = ", ".join(f"{size}: {took:.1f} s" for size, took in row["tried"].items())
    batches = {"luthier": "–", "lm-eval": f"{row['batch_size']} (a part: {tried})"}
    return [
        [
            row["suite"],
            name,
            batches[name],
            f"{seconds:.1f}",
            ", ".join(f"{value:.1f}" for value in row["every"][name]),
            f"{row['requests'] / seconds:.1f}",
            format_bytes(row["peak_bytes"][name]),
        ]
        for name, seconds in row["seconds"].items()
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
