from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from luthier.records.comparison import Comparison
from luthier.records.evaluation import EvaluationRecord
from luthier.records.ladder import LadderRecord, RungRecord
from luthier.records.run_directory import RunDirectory
from luthier.reports.runs import collect_runs
from luthier.reports.table import evaluation_table, ladder_table, runs_table


def shown(table: Table, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_the_ladder_fits_the_terminal_without_cutting_a_figure(
    ladder: LadderRecord, width: int
) -> None:
    text = shown(ladder_table(ladder), width)
    lora = ladder.rungs[4]
    assert lora.metric
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert f"{lora.metric.value:.3f}" in text
    assert f"[{lora.metric.low:.3f}, {lora.metric.high:.3f}]" in text
    for figure in ("+0.070", "p < 0.001", "+0.021", "2.4 M", "4.7 MiB", "1.3 GiB", "4m 13s"):
        assert figure in text, figure


def test_only_the_recommended_rung_is_marked(ladder: LadderRecord) -> None:
    lines = shown(ladder_table(ladder)).splitlines()
    assert [line.split()[1] for line in lines if line.startswith("▸")] == ["lora"]
    other = ladder.recommendation.model_copy(update={"rung": None})
    assert "▸" not in shown(ladder_table(ladder.model_copy(update={"recommendation": other})))


@pytest.mark.parametrize("status", ["skipped", "failed"])
def test_a_rung_without_a_result_says_why(ladder: LadderRecord, status: str) -> None:
    rung = RungRecord.model_validate(
        {"name": "full", "status": status, "reason": "no [bold]room[/bold]"}
    )
    text = shown(ladder_table(ladder.model_copy(update={"rungs": (rung,)})))
    assert f"full {status}: no [bold]room[/bold]" in " ".join(text.split())


def test_a_worse_rung_shows_its_loss_with_a_minus_sign(ladder: LadderRecord) -> None:
    gain = Comparison(
        baseline="few-shot",
        difference=-0.031,
        low=-0.05,
        high=-0.01,
        p=0.01,
        p_adjusted=0.04,
        test="t",
        n=9,
    )
    rung = ladder.rungs[3].model_copy(update={"gain": gain})
    text = shown(ladder_table(ladder.model_copy(update={"rungs": (rung,)})))
    assert "−0.031" in text
    assert "p = 0.040" in text


def test_evaluation_table_shows_every_metric_with_its_signature(tune_run: RunDirectory) -> None:
    record = EvaluationRecord.read(tune_run.evaluation("python-docstrings"))
    text = shown(evaluation_table([record]), width=160)
    for part in ("rougeL", "exact_match", "95 % interval", "rouge_score 0.1.2", "128"):
        assert part in text, part


def test_runs_table_lists_each_run_with_its_result(
    adapt_run: RunDirectory, tune_run: RunDirectory
) -> None:
    text = shown(runs_table(collect_runs(adapt_run.path.parent)), width=120)
    assert "docstrings" in text
    assert "lora: rougeL 0.2" in text
    assert "single" in text
