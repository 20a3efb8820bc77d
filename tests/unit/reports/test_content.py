from __future__ import annotations

from pathlib import Path

import pytest

from luthier.core.errors import DataError
from luthier.core.files import append_line
from luthier.records.run_directory import RunDirectory
from luthier.reports import write_report
from luthier.reports.content import read_content

TASK = "python-docstrings"


def test_an_adapt_run_gives_its_rungs_in_the_order_of_the_ladder(adapt_run: RunDirectory) -> None:
    content = read_content(adapt_run)
    assert content.kind == "adapt"
    names = [system.name for system in content.systems]
    assert names == ["zero-shot", "one-shot", "few-shot", "prompt-tuning", "lora"]
    assert all(len(system.measured[0].samples) == 128 for system in content.systems)
    assert [bool(system.curve.training) for system in content.systems] == [False] * 3 + [True] * 2


def test_a_tune_run_gives_one_system_with_its_curve(tune_run: RunDirectory) -> None:
    (system,) = read_content(tune_run).systems
    assert len(system.curve.training) == 60
    assert [step for step, _ in system.curve.validation] == [15, 30, 45, 60]
    assert system.forgetting is not None


def test_steps_repeated_after_a_resume_count_once_and_the_last_wins(tune_run: RunDirectory) -> None:
    append_line(tune_run.metrics, {"step": 60, "loss": 9.0})
    append_line(tune_run.metrics, {"step": 61, "loss": None})
    curve = read_content(tune_run).systems[0].curve
    assert len(curve.training) == 60
    assert curve.training[-1] == (60, 9.0)


def test_a_torn_last_line_is_not_an_error(tune_run: RunDirectory) -> None:
    with tune_run.metrics.open("a") as file:
        file.write('{"step": 61, "lo')
    assert len(read_content(tune_run).systems[0].curve.training) == 60


BREAKAGES = {
    "ladder.json": "{",
    "manifest.json": "[1]",
    "rungs/lora/training.json": "{}",
    "rungs/lora/metrics.jsonl": '{"loss": 1.0}\n',
    "rungs/lora/events.jsonl": '{"event": "validation", "loss": "low", "step": 1}\n',
    "rungs/lora/forgetting.json": '{"value": "much"}',
    f"rungs/lora/evaluation/{TASK}.json": "[]",
    f"rungs/lora/evaluation/{TASK}.samples.jsonl": '{"id": 1}\n',
}


@pytest.mark.parametrize("file", BREAKAGES)
def test_a_broken_file_is_named(adapt_run: RunDirectory, file: str) -> None:
    (adapt_run.path / file).write_text(BREAKAGES[file])
    with pytest.raises(DataError) as caught:
        write_report(adapt_run)
    assert str(adapt_run.path / file) in caught.value.where
    assert not adapt_run.report_html.exists()


@pytest.mark.parametrize("file", ["metrics.jsonl", f"evaluation/{TASK}.samples.jsonl"])
def test_a_file_that_is_not_text_is_named(tune_run: RunDirectory, file: str) -> None:
    (tune_run.path / file).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not valid UTF-8") as caught:
        read_content(tune_run)
    assert caught.value.where.endswith(f"{file}:1")


@pytest.mark.parametrize("file", ["manifest.json", f"rungs/lora/evaluation/{TASK}.json"])
def test_a_missing_file_is_an_error(adapt_run: RunDirectory, file: str) -> None:
    (adapt_run.path / file).unlink()
    with pytest.raises(DataError):
        read_content(adapt_run)


def test_an_unfinished_ladder_says_how_to_finish_it(adapt_run: RunDirectory) -> None:
    adapt_run.ladder.unlink()
    with pytest.raises(DataError, match="not finished") as caught:
        read_content(adapt_run)
    assert "luthier adapt" in caught.value.fix


def test_a_run_without_results_is_an_error(tune_run: RunDirectory, tmp_path: Path) -> None:
    empty = RunDirectory.create(tmp_path, "empty")
    empty.config.write_bytes(tune_run.config.read_bytes())
    with pytest.raises(DataError, match="no results yet"):
        read_content(empty)


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run directory"):
        read_content(RunDirectory(tmp_path))


def test_a_rung_name_in_the_ladder_cannot_lead_outside_the_run(adapt_run: RunDirectory) -> None:
    text = adapt_run.ladder.read_text().replace('"name": "lora"', '"name": "../../single"')
    adapt_run.ladder.write_text(text)
    with pytest.raises(DataError, match="missing"):
        read_content(adapt_run)
