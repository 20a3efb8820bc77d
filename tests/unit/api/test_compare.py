"""How many examples a difference needs, and what a tuned run forgot."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console as Screen

import luthier
from luthier.api.results import AdaptResult
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.files import read_lines
from luthier.records.evaluation import EvaluationRecord
from luthier.records.forgetting import Forgetting, ItemChange
from luthier.records.run_directory import RunDirectory
from luthier.reports.changes import forgetting_tables, sample_size_table
from luthier.reports.comparisons import caption
from luthier.reports.table import ladder_table

pytestmark = pytest.mark.usefixtures("one_thread")
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def ladder(
    tiny_llama: Path, quick_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> AdaptResult:
    """A ladder with one rung that is tuned, and one that is not."""
    changes = {"model.id": str(tiny_llama), "adapt.rungs": ["zero-shot", "full"]}
    output = {"output": str(tmp_path_factory.mktemp("runs"))}
    return luthier.adapt(None, {**quick_settings, **changes, **output}, QUIET)


def rung(ladder: AdaptResult, name: str) -> RunDirectory:
    return ladder.run.rung(name)


def test_a_run_says_how_many_examples_are_needed(ladder: AdaptResult) -> None:
    run = rung(ladder, "full")
    record = EvaluationRecord.read(run.evaluation(ladder.ladder.task))
    for metric in record.metrics:
        plan = luthier.required_sample_size(0.05, run.path, metric=metric.name)
        assert plan.measured_on == metric.n
        assert plan.rows[0].detectable == pytest.approx(metric.detectable)
        shown = "".join(map(str, sample_size_table(plan).columns[1].cells))
        assert f"{plan.rows[0].examples:,}" in shown


def test_a_base_rate_does_without_a_run() -> None:
    plan = luthier.required_sample_size(0.02, base_rate=0.7)
    # McNemar's exact test needs a little more than the normal formula says.
    approximate = 2 * 0.21 * (2.8016 / 0.02) ** 2
    assert approximate < plan.rows[0].examples < 1.02 * approximate
    for arguments in ({}, {"run": "runs/x", "base_rate": 0.5}):
        with pytest.raises(UsageError, match="spread of the scores"):
            luthier.required_sample_size(0.02, **arguments)


@pytest.mark.parametrize("difference", [1.0, 2.0])
def test_shares_differ_by_less_than_one(difference: float) -> None:
    with pytest.raises(UsageError, match="cannot differ by"):
        luthier.required_sample_size(difference, base_rate=0.7)


def test_runs_are_paired_with_the_first(ladder: AdaptResult) -> None:
    runs = [rung(ladder, name).path for name in ("zero-shot", "full")]
    compared = luthier.compare(runs, console=QUIET)
    assert compared.names == ("zero-shot", "full")
    (task,) = compared.tasks
    assert (task.task, task.metric) == (ladder.ladder.task, ladder.ladder.metric)
    by_ladder = next(r.gain for r in ladder.ladder.rungs if r.name == "full")
    assert by_ladder
    alone = by_ladder.model_copy(
        update={"p_adjusted": by_ladder.p, "adjustment": by_ladder.alternative}
    )
    assert task.comparisons[0] == alone.model_copy(update={"baseline": "zero-shot"})
    assert luthier.compare(runs, "chrf", console=QUIET).tasks[0].metric == "chrf"


def test_it_is_said_what_each_p_is_a_test_of(
    ladder: AdaptResult, tmp_path: Path, quick_settings: dict[str, Any], tiny_llama: Path
) -> None:
    """A rung's p in the ladder and in a comparison are other numbers, and must not look alike."""
    gain = next(r.gain for r in ladder.ladder.rungs if r.name == "full")
    assert gain
    assert gain.alternative == "two-sided, for any difference"
    assert gain.adjustment.startswith("one-sided, for a gain; corrected for all pairs of rungs")
    runs = [rung(ladder, name).path for name in ("zero-shot", "full")]
    two = luthier.compare(runs, console=QUIET)
    assert two.of_ladder == ladder.run.name
    assert two.tasks[0].comparisons[0].adjustment == "two-sided, for any difference"
    said = caption(two)
    assert "p is two-sided, for any difference." in said
    assert f"The p of the ladder {ladder.run.name} is a different test: it is one" in said
    shown = io.StringIO()
    Screen(file=shown, width=80).print(ladder_table(ladder.ladder))
    assert "p is one-sided, for a gain, and corrected for all pairs of rungs." in shown.getvalue()
    page = tmp_path / "page.html"
    luthier.compare(runs, console=QUIET, html=page)
    assert "p is two-sided, for any difference" in page.read_text(encoding="utf-8")
    base = {**quick_settings, "output": str(tmp_path), "model.id": str(tiny_llama)}
    apart = luthier.evaluate(None, None, base, QUIET).run.path
    three = luthier.compare([*runs, apart], console=QUIET)
    assert three.of_ladder == ""
    for one in three.tasks[0].comparisons:
        assert one.adjustment == "two-sided, for any difference; corrected for 2 comparisons (Holm)"
    said = caption(three)
    assert "p is two-sided, for any difference, and corrected for 2 comparisons (Holm)." in said
    assert "ladder" not in said


def test_what_is_not_compared(
    ladder: AdaptResult, quick_settings: dict[str, Any], tiny_llama: Path, tmp_path: Path
) -> None:
    run = rung(ladder, "zero-shot").path
    with pytest.raises(UsageError, match="nothing to compare"):
        luthier.compare([run])
    with pytest.raises(UsageError, match="named twice"):
        luthier.compare([run, run])
    with pytest.raises(UsageError, match="unknown metric 'rogueL'") as caught:
        luthier.compare([run, rung(ladder, "full").path], "rogueL")
    assert "rougeL" in caught.value.fix
    fewer = {**quick_settings, "data.num_test": 5, "output": str(tmp_path)}
    other = luthier.evaluate(None, None, {**fewer, "model.id": str(tiny_llama)}, QUIET)
    with pytest.raises(DataError, match="answered by one system only"):
        luthier.compare([run, other.run.path])
    renamed = other.run.evaluation("other")
    other.run.evaluation(other.evaluation.task).rename(renamed)
    other.run.samples(other.evaluation.task).rename(other.run.samples("other"))
    with pytest.raises(DataError, match="no evaluation in common") as apart:
        luthier.compare([run, other.run.path])
    assert "other" in apart.value.problem


def test_what_was_forgotten_is_what_the_ladder_found(ladder: AdaptResult) -> None:
    run = rung(ladder, "full")
    by_ladder = next(r.forgetting for r in ladder.ladder.rungs if r.name == "full")
    report = luthier.measure_forgetting(run.path, console=QUIET)
    assert report.general == by_ladder == Forgetting.read(run.forgetting)
    assert report.tasks == ()
    assert sum(topic.n for topic in report.topics) == by_ladder.n
    rises = [topic.change for topic in report.topics]
    assert rises == sorted(rises, reverse=True)
    least = 1e-9  # a topic of one text has no spread
    assert all(t.low - least <= t.change <= t.high + least for t in report.topics)


def test_evaluations_that_both_have_are_compared_item_by_item(ladder: AdaptResult) -> None:
    before, run = rung(ladder, "zero-shot"), rung(ladder, "full")
    report = luthier.measure_forgetting(run.path, before.path, QUIET)
    (task,) = report.tasks
    expected = luthier.compare([before.path, run.path]).tasks[0].comparisons[0]
    assert task.comparison == expected
    assert task.after - task.before == pytest.approx(expected.difference)
    items = [ItemChange.model_validate(line) for line in read_lines(run.forgetting_items)]
    answered = [item for item in items if item.task]
    assert len(answered) == expected.n
    assert task.lost == sum(item.after < item.before for item in answered)
    assert task.gained == sum(item.after > item.before for item in answered)
    assert len(items) - len(answered) == report.general.n
    tables = list(forgetting_tables(report))
    assert tables[0].columns[0].header == "measured on"
    assert len(tables) == 2  # the examples are of one kind


def test_a_run_forgets_nothing_against_itself(ladder: AdaptResult) -> None:
    run = rung(ladder, "full")
    report = luthier.measure_forgetting(run.path, run.path, QUIET)
    assert (report.general.value, report.general.low, report.general.high) == (0, 0, 0)
    assert (report.tasks[0].lost, report.tasks[0].gained) == (0, 0)
    luthier.measure_forgetting(run.path, console=QUIET)  # leave the record as it was


def test_what_cannot_be_compared(ladder: AdaptResult, tiny_gpt2: Path, tiny_t5: Path) -> None:
    run = rung(ladder, "full")
    with pytest.raises(DataError, match="no tuned model"):
        luthier.measure_forgetting(rung(ladder, "zero-shot").path, console=QUIET)
    with pytest.raises(UsageError, match="different tokenizers"):
        luthier.measure_forgetting(run.path, tiny_t5, QUIET)
    other = luthier.measure_forgetting(
        run.path, tiny_gpt2, QUIET
    )  # another model, the same tokenizer
    assert other.before == str(tiny_gpt2)
    luthier.measure_forgetting(run.path, console=QUIET)
