"""Runs side by side: the table, the sentence, and the examples where they differ."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from luthier.records.comparison import (
    Comparison,
    DifferentItem,
    RunComparison,
    SuiteComparison,
    TaskComparison,
)
from luthier.records.evaluation import MetricResult
from luthier.reports.comparisons import (
    comparison_rows,
    comparison_sentence,
    comparison_table,
    different_items,
)


def figure(value: float, name: str = "acc") -> MetricResult:
    return MetricResult(
        value=value, low=value - 0.05, high=value + 0.05, n=200, name=name, signature=name
    )


def compared(task: str, before: float, after: float, p: float = 0.001) -> TaskComparison:
    apart = after - before
    return TaskComparison(
        task=task,
        metric="acc",
        results=(figure(before), figure(after)),
        comparisons=(
            Comparison(
                baseline="small", difference=apart, low=apart - 0.02, high=apart + 0.02, p=p / 2,
                p_adjusted=p, test="exact McNemar", n=200, detectable=0.04,
            ),
        ),
        better=(30,),
        worse=(10,),
        items=(
            DifferentItem(
                id="7", prompt="a long passage " * 30 + "Is it?", references=("yes",),
                answers=("no", ""), scores=(0.0, 1.0), words={"yes": " True", "no": " False"},
            ),
        ),
    )  # fmt: skip


RUNS = RunComparison(
    names=("small", "large"),
    tasks=(compared("rte", 0.5, 0.6), compared("wic", 0.6, 0.5), compared("cb", 0.5, 0.51, 0.7)),
    suites=(
        SuiteComparison(
            suite="all",
            results=(figure(0.5), figure(0.6)),
            comparisons=(
                Comparison(
                    baseline="small", difference=0.1, low=0.05, high=0.15, p=0.002,
                    p_adjusted=0.002,
                    test="paired approximate randomisation within tasks, 999 draws", n=600,
                ),
            ),
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_the_terminal_without_cutting_a_figure(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(comparison_table(RUNS))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for part in (
        "0.500 [0.450, 0.550]", "+0.100", "[+0.080, +0.120]", "−0.100", "p = 0.001", "p = 0.700",
        "corrected for 3 comparisons of tasks, and for 1 of suites", "small", "large", "rte",
        "score",
    ):  # fmt: skip
        assert part in " ".join(text.split()), part
    assert "…" not in text


def test_rows_are_of_suites_then_of_tasks() -> None:
    rows = comparison_rows(RUNS)
    assert [row.task for row in rows] == ["all", "rte", "wic", "cb"]
    assert [row.is_real for row in rows] == [True, True, True, False]
    assert [(row.items, row.p) for row in rows[:2]] == [("", "p = 0.002"), ("30 / 10", "p = 0.001")]


def test_the_sentence_counts_what_chance_does_not_explain() -> None:
    assert comparison_sentence(RUNS) == (
        "Of 3 tasks large is better than small on 1 and worse on 1; on 1 the difference may be "
        "chance."
    )
    alike = RUNS.model_copy(update={"tasks": (RUNS.tasks[2], RUNS.tasks[2])})
    assert comparison_sentence(alike) == (
        "No clear difference between large and small on any of 2 tasks."
    )
    one = RUNS.model_copy(update={"tasks": RUNS.tasks[:1]})
    assert comparison_sentence(one) == (
        "large is better than small on rte: +0.100 in acc (p = 0.001)."
    )
    unclear = RUNS.model_copy(update={"tasks": RUNS.tasks[2:]})
    assert "not clearly different from small" in comparison_sentence(unclear)


def test_an_item_shows_the_end_of_its_prompt_and_every_answer() -> None:
    out = io.StringIO()
    for part in list(different_items(RUNS))[:3]:
        Console(file=out, width=300, color_system=None).print(part)
    heading, id_, asked, right, small, large = filter(None, out.getvalue().splitlines())
    assert heading == "rte: where acc differs"
    assert id_ == "7"
    assert asked.startswith("  asked")
    assert "… " in asked
    assert asked.rstrip().endswith("Is it?")
    assert right.split() == ["right", "yes", "(True)"]
    assert small.split() == ["small", "0.000", "no", "(False)"]
    assert large.split() == ["large", "1.000", "(empty)"]
