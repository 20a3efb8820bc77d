"""Tables in the terminal show no interval where there is none."""

from __future__ import annotations

from io import StringIO
from typing import Any

from luthier.core.terminal import TerminalConsole
from luthier.records.comparison import Comparison, Judgement
from luthier.records.evaluation import MetricResult, ModelStamp, TemplateStamp
from luthier.records.forgetting import Forgetting, ForgettingReport, GroupChange, TaskChange
from luthier.reports.changes import forgetting_tables, judgement_table

WHY = "one unit has no spread"
GROUPS = tuple(
    GroupChange(group=name, n=1, before=2, after=3, low=1, high=1, no_interval=WHY)
    for name in ("a", "b")
)
GENERAL = Forgetting(
    value=1, low=1, high=1, n=2, no_interval=WHY, before=2, after=3, tokens=9, text="topics"
)
COMPARED = Comparison(
    baseline="base",
    difference=1,
    low=1,
    high=1,
    p=0.5,
    p_adjusted=0.5,
    test="t",
    n=1,
    no_interval=WHY,
)
TASK = TaskChange(
    task="own", metric="acc", before=2, after=3, comparison=COMPARED, lost=0, gained=1,
    groups=GROUPS,
)  # fmt: skip


def shown(*tables: Any) -> str:
    stream = StringIO()
    console = TerminalConsole(stream, width=120)
    for table in tables:
        console.print(table)
    return stream.getvalue()


def test_what_was_forgotten() -> None:
    report = ForgettingReport(
        before="base", after="tuned", general=GENERAL, topics=GROUPS, tasks=(TASK,)
    )
    text = shown(*forgetting_tables(report))
    assert text.count("no interval") == 6
    assert "[" not in text


def test_a_win_rate() -> None:
    rate = MetricResult(
        value=0.5, low=0.5, high=0.5, n=6, no_interval=WHY, name="win_rate", signature="w"
    )
    judge = ModelStamp(id="judge", parameters=1, dtype="float32", architecture="x")
    judgement = Judgement(
        task="own", candidate="tuned", baseline="base", judge=judge, win_rate=rate, wins=3,
        losses=3, ties=0, equal=0, inconsistent=0, unread=0,
        template=TemplateStamp(id="t", hash="h"),
    )  # fmt: skip
    assert "no interval" in shown(judgement_table([judgement]))
