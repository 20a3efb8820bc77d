"""A finished adapt run and a finished tune run, made of fixture data: nothing here was measured."""

from __future__ import annotations

import math
import random
import shutil
from pathlib import Path

import pytest
from tests.records import training_record

from luthier.config import RunConfig
from luthier.config.load import to_yaml
from luthier.core.files import write_atomically, write_json, write_lines
from luthier.records.comparison import Comparison
from luthier.records.evaluation import (
    EvaluationRecord,
    MetricResult,
    ModelStamp,
    SampleRecord,
    TemplateStamp,
)
from luthier.records.forgetting import Forgetting
from luthier.records.ladder import LadderRecord, Recommendation, RungRecord
from luthier.records.run_directory import RunDirectory
from luthier.records.training import TrainingRecord

TASK = "python-docstrings"
NUM_SAMPLES = 128
MODEL = ModelStamp(
    id="smollm2-135m-instruct",
    revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
    parameters=134_515_008,
    dtype="bfloat16",
    architecture="LlamaForCausalLM",
)
TEMPLATE = TemplateStamp(id="docstring", hash="5f0c1be6a7d2e934")
VERSIONS = {"luthier": "0.1.0", "python": "3.11.4", "torch": "2.13.0", "transformers": "5.17.0"}
MEANS = {"zero-shot": 0.12, "one-shot": 0.15, "few-shot": 0.17, "prompt-tuning": 0.21, "lora": 0.28}
SHOTS = {"one-shot": 1, "few-shot": 3}
STEPS = 60
VERBS = ("Return", "Compute", "Parse", "Open", "Close", "Read", "Write", "Convert", "Register")
NOUNS = ("the header", "a file object", "the path", "an iterator", "the message", "a frame")
TAILS = ("of the archive.", "for the given name.", "as a string.", "without blocking.", "in place.")


def sentence(draw: random.Random) -> str:
    return f"{draw.choice(VERBS)} {draw.choice(NOUNS)} {draw.choice(TAILS)}"


def prompt(index: int, shots: int) -> str:
    code = f"def handler_{index}(self, name, *, strict=True):\n    return self._table[name]"
    worked = "def add(a, b):\n    return a + b\n\nDocstring: Return the sum.\n\n" * shots
    return f"{worked}Write the first line of the docstring.\n\n{code}\n\nDocstring:"


def samples(name: str) -> list[SampleRecord]:
    draw, targets = random.Random(name), random.Random("targets")
    made = []
    for index in range(NUM_SAMPLES):
        target = sentence(targets)
        score = min(1.0, max(0.0, draw.gauss(MEANS[name], 0.12)))
        made.append(
            SampleRecord(
                id=f"{TASK}/{index:04d}",
                prompt=prompt(index, SHOTS.get(name, 0)),
                prediction=target if score > 0.45 else sentence(draw),
                references=(target,),
                scores={"rougeL": round(score, 4), "exact_match": float(score > 0.45)},
                finish="length" if index % 17 == 0 else "stop",
            )
        )
    return made


def metrics(name: str, lines: list[SampleRecord]) -> tuple[MetricResult, ...]:
    results = []
    for metric in ("rougeL", "exact_match"):
        values = [sample.scores[metric] for sample in lines]
        mean = sum(values) / len(values)
        error = math.sqrt(sum((value - mean) ** 2 for value in values)) / len(values)
        results.append(
            MetricResult(
                value=mean,
                low=mean - 1.96 * error,
                high=mean + 1.96 * error,
                n=len(values),
                name=metric,
                signature="rouge_score 0.1.2, rougeL F1, stemmed, best of references",
            )
        )
    return tuple(results)


def training(name: str) -> TrainingRecord:
    trained = {"prompt-tuning": 9_216, "lora": 2_442_240}[name]
    return training_record(
        examples=960,
        method=name,
        trained_parameters=trained,
        total_parameters=MODEL.parameters,
        artifact_bytes=trained * 2 + 1_024,
        steps=STEPS,
        planned_steps=STEPS,
        best_step=STEPS,
        seconds=212.0,
        peak_memory_bytes=1_400_000_000,
    )


def forgetting(name: str) -> Forgetting:
    rise = {"prompt-tuning": 0.004, "lora": 0.021}[name]
    return Forgetting(
        value=rise, low=rise - 0.006, high=rise + 0.007, n=64,
        before=3.412, after=3.412 + rise, tokens=4_096, text="python-topics",
    )  # fmt: skip


def write_evaluation(run: RunDirectory, name: str) -> EvaluationRecord:
    lines = samples(name)
    record = EvaluationRecord(
        task=TASK,
        split="test",
        model=MODEL,
        adapter="model" if name in ("prompt-tuning", "lora") else "",
        template=TEMPLATE,
        shots=SHOTS.get(name, 0),
        chat_template=True,
        metrics=metrics(name, lines),
        seconds=41.0 + 9 * SHOTS.get(name, 0),
        generated_tokens=2_930,
        prompt_tokens=31_040,
        truncated_outputs=8,
        versions=VERSIONS,
    )
    record.write(run.evaluation(TASK))
    write_lines(run.samples(TASK), [line.model_dump(mode="json") for line in lines])
    return record


def write_training(run: RunDirectory, name: str) -> None:
    draw = random.Random(name)
    training(name).write(run.training)
    forgetting(name).write(run.forgetting)
    losses = [2.2 + 1.5 * math.exp(-step / 15) + draw.gauss(0, 0.08) for step in range(STEPS)]
    write_lines(
        run.metrics,
        [
            {"step": step, "loss": loss, "learning_rate": 5e-4, "gradient_norm": 1.0,
             "tokens": 240, "tokens_per_second": 600.0, "seconds": 3.5}
            for step, loss in enumerate(losses, start=1)
        ],
    )  # fmt: skip
    validations = [
        {"event": "validation", "step": step, "loss": 2.3 + 1.3 * math.exp(-step / 18)}
        for step in (15, 30, 45, 60)
    ]
    write_lines(run.events, [{"event": "checkpoint", "step": 30}, *validations])


def write_common(run: RunDirectory) -> None:
    write_atomically(run.config, to_yaml(RunConfig(name=run.name)))
    write_json(
        run.manifest,
        {"versions": VERSIONS, "hardware": {"device": "cpu", "cores": 2, "memory_bytes": 2**34},
         "seed": 0, "hashes": {"data": "9f86d081884c7d65", "template": TEMPLATE.hash}},
    )  # fmt: skip


def rung_record(name: str, record: EvaluationRecord, below: str | None) -> RungRecord:
    tuned = name in ("prompt-tuning", "lora")
    spent = training(name) if tuned else None
    rise = MEANS[name] - MEANS[below] if below else 0.0
    gain = Comparison(
        baseline=below, difference=rise, low=rise - 0.018, high=rise + 0.018, p=0.0004,
        p_adjusted=0.0008,
        test="paired permutation, 2,000 permutations", n=NUM_SAMPLES,
    ) if below else None  # fmt: skip
    return RungRecord(
        name=name,
        status="done",
        metric=record.metrics[0],
        metrics=record.metrics,
        gain=gain,
        forgetting=forgetting(name) if tuned else None,
        trained_parameters=spent.trained_parameters if spent else 0,
        artifact_bytes=spent.artifact_bytes if spent else 0,
        peak_memory_bytes=spent.peak_memory_bytes if spent else 640_000_000,
        train_seconds=spent.seconds if spent else 0.0,
        evaluate_seconds=record.seconds,
        training=spent,
    )


def build_adapt_run(output: Path) -> RunDirectory:
    """Five measured rungs and one that was skipped."""
    run = RunDirectory.create(output, "docstrings")
    write_common(run)
    rungs: list[RungRecord] = []
    for name in MEANS:
        folder = run.rung(name)
        record = write_evaluation(folder, name)
        if name in ("prompt-tuning", "lora"):
            write_training(folder, name)
        rungs.append(rung_record(name, record, rungs[-1].name if rungs else None))
    skipped = "full fine-tuning needs 5.1 GiB and 3.0 GiB are free"
    rungs.append(RungRecord(name="full", status="skipped", reason=skipped))
    LadderRecord(
        task=TASK,
        split="test",
        metric="rougeL",
        target=0.25,
        alpha=0.05,
        examples={"train": 960, "validation": 128, "test": NUM_SAMPLES},
        model=MODEL,
        template=TEMPLATE,
        rungs=tuple(rungs),
        recommendation=Recommendation(
            rung="lora",
            sentence="Use lora: it is the cheapest rung that reaches rougeL 0.250.",
            reasons=(
                "It gains 0.070 over prompt-tuning, which chance explains with p < 0.001.",
                "It costs 3m 32s of tuning and an artifact of 4.7 MiB.",
                "Loss on general text rose by 0.021 nats per token.",
            ),
        ),
        seconds=912.0,
        budget_seconds=1_800.0,
    ).write(run.ladder)
    return run


def build_tune_run(output: Path) -> RunDirectory:
    """A single LoRA run with its evaluation."""
    run = RunDirectory.create(output, "single")
    write_common(run)
    write_training(run, "lora")
    write_evaluation(run, "lora")
    return run


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both runs, built once; tests get copies to change as they like."""
    output = tmp_path_factory.mktemp("built")
    build_adapt_run(output)
    build_tune_run(output)
    return output


@pytest.fixture
def adapt_run(built: Path, tmp_path: Path) -> RunDirectory:
    return copy_of(built / "docstrings", tmp_path)


@pytest.fixture
def tune_run(built: Path, tmp_path: Path) -> RunDirectory:
    return copy_of(built / "single", tmp_path)


def copy_of(run: Path, folder: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(run, folder / "runs" / run.name))


@pytest.fixture
def ladder(built: Path) -> LadderRecord:
    return LadderRecord.read(built / "docstrings" / "ladder.json")
