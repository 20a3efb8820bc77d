"""Benchmark tasks from end to end, with a tiny model."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.api.results import BenchmarkResult
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.files import read_lines
from luthier.data.task_rows import MissingDataError
from luthier.evaluation import compare_evaluations, load_evaluation
from luthier.evaluation.statistics.bootstrap import Resampling
from luthier.inference.local.engine import LocalEngine
from luthier.records.evaluation import SuiteRecord
from luthier.records.run_directory import RunDirectory

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
    assert {sample.group for sample in stored.samples} == {"0", "1", "2", "3"}
    assert record.drawn == "30 of 40 rows, drawn with the seed 0"
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
    tiny_gpt2: Path,
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
    assert "left out 8 of 10 tasks for lack of data" in shown.getvalue()
    assert "glue/CoLA/dev.tsv" in shown.getvalue()
    (suite,) = result.suites
    assert suite == SuiteRecord.read(result.run.suite("glue"))
    assert suite.tasks == ("glue/qnli", "glue/rte")
    values = [record.metrics[0].value for record in result.evaluations]
    assert suite.scores[0].value == pytest.approx(sum(values) / 2)
    assert "reaches score" in result.report.read_text(encoding="utf-8")
    (other,) = luthier.benchmark([tiny_gpt2], ["glue"], None, settings, Console(shown))
    (compared,) = luthier.compare([result.run.path, other.run.path]).suites
    assert compared.results == (suite.scores[0], other.suites[0].scores[0])
    (apart,) = compared.comparisons
    assert apart.difference == pytest.approx(
        other.suites[0].scores[0].value - suite.scores[0].value
    )
    assert apart.low <= apart.difference <= apart.high
    assert apart.p == apart.p_adjusted > 0
    fewer = other.suites[0].model_copy(update={"tasks": ("glue/rte",)})
    fewer.write(other.run.suite("glue"))
    assert not luthier.compare([result.run.path, other.run.path], console=Console(shown)).suites
    assert "glue is not compared as a whole" in shown.getvalue()
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


@pytest.fixture
def two_runs(
    own: str, settings: dict[str, Any], tiny_llama: Path, tiny_gpt2: Path, tmp_path: Path
) -> tuple[BenchmarkResult, ...]:
    """Two models on two tasks of one kind."""
    other = tmp_path / "other.yaml"
    other.write_text(OWN.replace("name: parity", "name: other"), encoding="utf-8")
    targets, tasks = [tiny_llama, tiny_gpt2], [own, str(other)]
    return luthier.benchmark(targets, tasks, None, settings, Console(quiet=True), limit=30)


def test_runs_are_compared_on_all_tasks_or_on_one(two_runs: tuple[BenchmarkResult, ...]) -> None:
    runs = [result.run.path for result in two_runs]
    compared = luthier.compare(runs, num_items=3)
    assert [task.task for task in compared.tasks] == ["other", "parity"]
    first, second = compared.tasks
    assert first.comparisons == second.comparisons  # the same questions under two names
    # Two equal p-values are both doubled by Holm's correction.
    p = first.comparisons[0]
    assert p.p_adjusted == pytest.approx(min(1.0, 2 * p.p))
    values = [result.evaluations[1].metrics[0].value for result in two_runs]
    assert [result.value for result in first.results] == values
    assert p.difference == pytest.approx(values[1] - values[0])
    assert (first.better[0] - first.worse[0]) / 30 == pytest.approx(p.difference)
    assert len(first.items) == min(3, first.better[0] + first.worse[0])
    (alone,) = luthier.compare(runs, "acc_norm", "other").tasks
    assert (alone.task, alone.metric) == ("other", "acc_norm")
    assert alone.comparisons[0].p == alone.comparisons[0].p_adjusted


def test_a_run_of_tasks_has_a_report_with_every_choice(
    two_runs: tuple[BenchmarkResult, ...], tmp_path: Path
) -> None:
    html = two_runs[0].report.read_text(encoding="utf-8")
    assert re.search(r"gets \d+ of 30 \w+ right", html)
    assert "other, parity: 0 = &#39;even&#39;, 1 = &#39;odd&#39;" in html
    assert html.count('<table class="choices">') == 10
    assert html.count('<span class="hidden">chosen</span>') == 10
    page = tmp_path / "page.html"
    compared = luthier.compare([result.run.path for result in two_runs], html=page)
    html = page.read_text(encoding="utf-8")
    assert all(f'<th scope="col">{name}' in html for name in compared.names)
    assert "Runs compared" in html
    assert "config.yaml" not in html


def test_an_adapt_run_without_a_recommendation_is_no_model(
    own: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    run = RunDirectory.create(tmp_path, "adapted")
    run.config.write_text("{}", encoding="utf-8")
    run.rung("lora")
    with pytest.raises(DataError, match="recommends no rung yet") as caught:
        luthier.benchmark([run.path], [own], None, settings, Console(quiet=True))
    assert "rungs/lora" in caught.value.fix


def test_a_run_that_is_not_there_is_no_model(own: str, settings: dict[str, Any]) -> None:
    missing = Path(settings["output"]) / "nothing"
    with pytest.raises(DataError, match="no such run"):
        luthier.benchmark([missing], [own], None, settings, Console(quiet=True))
