"""Do Luthier's tasks give the numbers of lm-evaluation-harness, document by document?

    python benchmarks/agreement.py --peer PYTHON [--documents 100] [--chat] [--only TASK ...]

PYTHON is an interpreter that has lm-eval, in an environment of its own. The folder that
LUTHIER_DATA names holds the tasks' files. Both read the same rows, write their own prompts and ask
the bundled model in float32: log-probabilities, answers and metrics are held against each other.
With --chat both ask through the model's chat template, worked examples as turns.
Results: benchmarks/results/<date>-agreement.json and .md, with --chat <date>-agreement-chat. Time
is not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agreement_cases import CASES, Case
from common import provenance, store, table
from evaluation import peer_version
from luthier.config import EvaluateConfig, ModelConfig, PromptConfig
from luthier.context.manifest import hardware, versions
from luthier.core.console import Console
from luthier.data.task_rows import read_task
from luthier.evaluation import Resampling
from luthier.evaluation.asking import load_task
from luthier.evaluation.asking.encode import ChatEncoder, TextEncoder
from luthier.evaluation.asking.prepared import PreparedTask, prepare_task
from luthier.evaluation.benchmark import evaluate_benchmark
from luthier.evaluation.task import Evaluation
from luthier.inference.local.engine import LocalEngine
from luthier.models.load import load_model, open_model
from luthier.prompts.render import PromptRenderer
from luthier.records.evaluation import SampleRecord
from luthier.tasks.task import Task
from models import BUNDLED

# Nats a request: what float32 leaves of sums over whole answers, which both round.
_AGREE = 1e-3
_BATCH_SIZE = 4
_SHOTS_FROM = 50
"""First rows of the split that worked examples are of."""


def main(arguments: Sequence[str]) -> None:
    """Ask both, compare and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--peer", required=True, help="an interpreter that has lm-eval")
    parser.add_argument("--documents", type=int, default=100, help="of a task; a part of slow ones")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--chat", action="store_true", help="ask through the chat template")
    chosen = parser.parse_args(arguments)
    version = peer_version(chosen.peer)
    cases = {name: CASES[name] for name in chosen.only}
    prepared = {
        name: _prepare(name, case, max(1, round(chosen.documents * case.part)))
        for name, case in cases.items()
    }
    theirs = _lm_eval(chosen.peer, cases, prepared, chosen.chat)
    ours = _luthier(prepared, chosen.chat)
    rows = [_compare(name, cases[name], prepared[name], ours[name], theirs[name]) for name in cases]
    command = ["benchmarks/agreement.py", *arguments]
    document = provenance(command, hardware(), versions() | {"lm-eval": version}) | {"rows": rows}
    name = "agreement-chat" if chosen.chat else "agreement"
    store(name, document, _markdown(document, chosen.chat))


def _prepare(name: str, case: Case, documents: int) -> PreparedTask:
    """The first documents of a task, after the first examples."""
    task = load_task(name)
    assert isinstance(task, Task)
    first = task.model_copy(update={"draw": "first"})
    return prepare_task(first, shots=case.shots, limit=documents, limit_draw="first")


def _luthier(prepared: Mapping[str, PreparedTask], chat: bool) -> dict[str, Evaluation]:
    console = Console()
    loaded = load_model(open_model(ModelConfig(id=BUNDLED, dtype="float32"), console))
    engine = LocalEngine(loaded, EvaluateConfig().batch_tokens)
    encoder = TextEncoder(loaded.tokenizer, loaded.context_window, loaded.is_encoder_decoder)
    if chat:
        window = loaded.context_window
        renderer = PromptRenderer.from_config(
            PromptConfig(), loaded.tokenizer, context_window=window
        )
        encoder = ChatEncoder.of(renderer)
    resampling = Resampling.of(EvaluateConfig(resamples=100), 0)
    return {
        name: evaluate_benchmark(engine, encoder, task, loaded.stamp, resampling, console)
        for name, task in prepared.items()
    }


def _lm_eval(
    peer: str, cases: Mapping[str, Case], prepared: Mapping[str, PreparedTask], chat: bool
) -> dict[str, Any]:
    """In its own environment."""
    handle = open_model(ModelConfig(id=BUNDLED), Console(quiet=True))
    tasks = {
        name: {"file": case.file, "shots": case.shots, "splits": _splits(case, prepared[name])}
        for name, case in cases.items()
    }
    case = {
        "model": str(handle.folder.path),
        "batch_size": _BATCH_SIZE,
        "threads": os.cpu_count() or 1,
        "chat": chat,
        "tasks": tasks,
    }
    script = str(Path(__file__).with_name("agreement_contender.py"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "case.json"
        file.write_text(json.dumps(case), encoding="utf-8")
        result = subprocess.run(
            [peer, script, str(file)], stdout=subprocess.PIPE, text=True, check=False
        )
    if result.returncode:
        raise SystemExit("lm-eval failed")
    measured: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return measured


def _delimiter(prepared: PreparedTask, ours: Evaluation) -> str:
    """What stands before the words that both have scored."""
    keeps = getattr(prepared.task, "delimits_turns", False)
    return "" if ours.record.chat_template and not keeps else prepared.task.delimiter


def _splits(case: Case, prepared: PreparedTask) -> dict[str, list[Any]]:
    """The rows as lm-eval wants them; what a task does not ask for has to be there too."""
    task, limit = prepared.task, len(prepared.documents)
    wanted = {prepared.split: limit} | ({task.shots_from: _SHOTS_FROM} if case.shots else {})
    splits = {
        split: [case.row(row.values) for row in read_task(task, split, count).rows]
        for split, count in wanted.items()
    }
    missing = {"train", "validation", "test"} - splits.keys()
    return splits | dict.fromkeys(missing, splits[prepared.split])


def _compare(
    name: str, case: Case, prepared: PreparedTask, ours: Evaluation, theirs: Mapping[str, Any]
) -> dict[str, Any]:
    """Hold the answers and the metrics of a task against each other."""
    pairs = list(zip(ours.samples, theirs["documents"], strict=True))
    scored = [pair for pair in pairs if "logprobs" in pair[1]]
    said = [(sample.prediction, other["text"]) for sample, other in pairs if "text" in other]
    differences = [
        abs(mine - logprob)
        for sample, other in scored
        for mine, logprob in _logprobs(sample, other["logprobs"], _delimiter(prepared, ours))
    ]
    metrics = {
        mine: {"luthier": ours.record.metric(mine).value, "lm-eval": theirs["metrics"][other]}
        for mine, other in case.metrics.items()
    }
    return {
        "task": name,
        "shots": case.shots,
        "documents": len(pairs),
        "requests": len(differences),
        "largest_difference": max(differences, default=None),
        "other_choices": sum(
            _likeliest(sample.likelihoods) != _likeliest(list(other["logprobs"].values()))
            for sample, other in scored
            if len(sample.words) > 1
        ),
        "other_texts": sum(mine.strip() != text.strip() for mine, text in said),
        "metrics": metrics,
    }


def _logprobs(
    sample: SampleRecord, theirs: Mapping[str, float], delimiter: str
) -> Iterator[tuple[float, float]]:
    """Both log-probabilities of each continuation, or of a text that is scored as a whole."""
    names = [delimiter + words for words in sample.words] or list(theirs)
    for name, mine in zip(names, sample.likelihoods, strict=True):
        yield mine, theirs[name]


def _likeliest(logprobs: Sequence[float]) -> int:
    return max(range(len(logprobs)), key=logprobs.__getitem__)


def _markdown(document: Mapping[str, Any], chat: bool) -> str:
    asked = "through the chat template, worked examples as turns" if chat else "no chat template"
    head = ("task", "shots", "documents", "requests", "largest difference", "other answers", "")
    lines = [
        f"# The numbers of lm-evaluation-harness, {document['date']}",
        "",
        f"`{document['command']}` at commit {document['commit']}. SmolLM2-135M-Instruct in "
        f"float32, {asked}; the first documents of each task. Both write their own "
        "prompts from the same rows. Differences are in nats a request; other answers are "
        "choices or generated texts that differ. "
        + ", ".join(f"{k} {v}" for k, v in document["versions"].items())
        + ".",
        "",
        *table([*head[:-1], "metrics (Luthier, lm-eval)"], map(_cells, document["rows"])),
    ]
    return "\n".join(lines) + "\n"


def _cells(row: Mapping[str, Any]) -> list[str]:
    difference = row["largest_difference"]
    metrics = (
        f"{name} {pair['luthier']:.6g}, {pair['lm-eval']:.6g}"
        for name, pair in row["metrics"].items()
    )
    return [
        row["task"],
        str(row["shots"]),
        str(row["documents"]),
        str(row["requests"]),
        "–" if difference is None else f"{difference:.1e}",
        str(row["other_choices"] + row["other_texts"]),
        "; ".join(metrics),
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
