"""Benchmark tasks from end to end, with a tiny model."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.files import read_lines
from luthier.core.records import SuiteRecord
from luthier.core.run_directory import RunDirectory
from luthier.evaluate import compare_evaluations, load_evaluation
from luthier.evaluate.statistics import Resampling
from luthier.evaluate.tasks import MissingDataError
from luthier.inference.local import LocalEngine

OWN = """\
name: parity
kind: choices
about: is a number even or odd?
files: {splits: {test: numbers.jsonl, train: more.jsonl}}
prompt: "Is {{ number }} even or odd? It is"
label: "{{ parity }}"
group: "{{ tens }}"
choices: {0: even, 1: odd}
metrics: [acc, acc_norm, "f1:1", matthews, ece]
submission: {file: parity.tsv, format: glue, split: test}
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    for name, start in (("numbers", 0), ("more", 100)):
        rows = [
            {"number": number, "parity": number % 2, "tens": f"{number // 10}"}
            for number in range(start, start + 40)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "parity.yaml").write_text(OWN, encoding="utf-8")
    return str(tmp_path / "parity.yaml")


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {"output": str(tmp_path / "runs"), "evaluate.resamples": 200, "model.dtype": "float32"}


def test_a_task_is_measured_stored_and_comparable(
    own: str, settings: dict[str, Any], tiny_llama: Path, tiny_gpt2: Path
) -> None:
    console = Console(quiet=True)
    first, second = luthier.benchmark(
        [tiny_llama, tiny_gpt2], [own], None, settings, console, shots=2, limit=30
    )
    (record,) = first.evaluations
    assert (record.task, record.format, record.version, record.split) == (
        "parity", "own", "1", "test",
    )  # fmt: skip
    assert (record.shots, record.labels) == (2, {"0": "even", "1": "odd"})
    assert [metric.name for metric in record.metrics] == [
        "acc", "acc_norm", "f1:1", "matthews", "ece",
    ]  # fmt: skip
    assert all(metric.low <= metric.value <= metric.high for metric in record.metrics)
    stored = load_evaluation(first.run, "parity")
    assert stored.record == record
    assert len(stored.samples) == record.metrics[0].n == 30
    assert {sample.group for sample in stored.samples} == {"0", "1", "2"}
    right = [sample.scores["acc"] for sample in stored.samples]
    assert record.metrics[0].value == pytest.approx(sum(right) / 30)
    comparison = compare_evaluations(
        "acc", stored, load_evaluation(second.run, "parity"), "llama", Resampling(0, 200, 0.95)
    )
    expected = second.evaluations[0].metrics[0].value - record.metrics[0].value
    assert comparison.difference == pytest.approx(expected)


def test_the_configuration_of_the_run_repeats_it(
    own: str, settings: dict[str, Any], tiny_llama: Path
) -> None:
    console = Console(quiet=True)
    (first,) = luthier.benchmark([tiny_llama], [own], None, settings, console, limit=5)
    (again,) = luthier.benchmark([], [], str(first.run.config), None, console)
    assert again.run.path == first.run.path
    assert again.evaluations[0].metrics == first.evaluations[0].metrics
    assert luthier.report(first.run.path).is_file()


def test_what_was_scored_is_not_scored_again(
    tiny_llama: Path, own: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(quiet=True)
    (first,) = luthier.benchmark([tiny_llama], [own], None, settings, console, limit=5)
    with monkeypatch.context() as patched:
        patched.setattr(LocalEngine, "score", lambda *_: pytest.fail("it was asked again"))
        (again,) = luthier.benchmark([], [], str(first.run.config), None, console)
    assert again.evaluations[0].metrics == first.evaluations[0].metrics
    lines = read_lines(first.run.answers("parity"))
    assert again.evaluations[0].seconds > sum(line["value"]["seconds"] for line in lines) > 0


def test_an_encoder_decoder_model_is_measured_too(
    own: str, settings: dict[str, Any], tiny_t5: Path
) -> None:
    (result,) = luthier.benchmark([tiny_t5], [own], None, settings, Console(quiet=True), limit=8)
    assert result.evaluations[0].metrics[0].n == 8


def test_a_suite_is_scored_from_what_is_there(
    settings: dict[str, Any],
    tiny_llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, label in (("RTE", "entailment"), ("QNLI", "not_entailment")):
        folder = tmp_path / "glue" / name
        folder.mkdir(parents=True)
        columns = "index\tsentence1\tsentence2\tlabel\tquestion\tsentence\n"
        rows = "".join(f"{n}\tIt is {n}.\tIs it?\t{label}\tIs it?\tIt is.\n" for n in range(6))
        (folder / "dev.tsv").write_text(columns + rows, encoding="utf-8")
    monkeypatch.setenv("LUTHIER_DATA", str(tmp_path))
    shown = io.StringIO()
    (result,) = luthier.benchmark([tiny_llama], ["glue"], None, settings, Console(shown))
    assert "8 of 10 tasks have no data" in shown.getvalue()
    assert "glue/CoLA/dev.tsv" in shown.getvalue()
    (suite,) = result.suites
    assert suite == SuiteRecord.read(result.run.suite("glue"))
    assert suite.tasks == ("glue/qnli", "glue/rte")
    values = [record.metrics[0].value for record in result.evaluations]
    assert suite.scores[0].value == pytest.approx(sum(values) / 2)
    with pytest.raises(MissingDataError, match="glue/cola"):
        luthier.benchmark([tiny_llama], ["glue", "glue/cola"], None, settings, Console(shown))


def test_predictions_are_written_for_a_leaderboard(
    own: str, settings: dict[str, Any], tiny_llama: Path, tmp_path: Path
) -> None:
    console = Console(quiet=True)
    (path,) = luthier.submit(tiny_llama, [own], tmp_path / "mine", None, settings, console)
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    assert (path.name, head, len(lines)) == ("parity.tsv", "index\tprediction", 40)
    assert {line.split("\t")[1] for line in lines} <= {"0", "1"}
    with pytest.raises(UsageError, match="has no leaderboard"):
        luthier.submit(tiny_llama, ["lambada"], tmp_path, None, settings, console)


def test_runs_are_compared_on_one_of_their_tasks(
    own: str, settings: dict[str, Any], tiny_llama: Path, tiny_gpt2: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(OWN.replace("name: parity", "name: other"), encoding="utf-8")
    results = luthier.benchmark(
        [tiny_llama, tiny_gpt2], [own, str(other)], None, settings, Console(quiet=True), limit=10
    )
    runs = [result.run.path for result in results]
    compared = luthier.compare(runs, "acc", "other")
    values = [result.evaluations[1].metric("acc").value for result in results]
    assert compared.comparisons[0].difference == pytest.approx(values[1] - values[0])
    with pytest.raises(DataError, match="2 evaluations: other, parity") as caught:
        luthier.compare(runs)
    assert "--task" in caught.value.fix


def test_of_an_adapt_run_a_rung_must_be_named(
    own: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    run = RunDirectory.create(tmp_path, "adapted")
    run.config.write_text("{}", encoding="utf-8")
    run.rung("lora")
    with pytest.raises(UsageError, match="several models") as caught:
        luthier.benchmark([run.path], [own], None, settings, Console(quiet=True))
    assert "rungs/lora" in caught.value.fix


def test_a_run_that_is_not_there_is_no_model(own: str, settings: dict[str, Any]) -> None:
    missing = Path(settings["output"]) / "nothing"
    with pytest.raises(DataError, match="no such run"):
        luthier.benchmark([missing], [own], None, settings, Console(quiet=True))
