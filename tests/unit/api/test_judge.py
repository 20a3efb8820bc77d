"""A judge on a real server compares the stored answers of runs."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.core.console import Console
from luthier.core.errors import DataError, ResourceError, UsageError
from luthier.core.files import read_lines
from luthier.evaluation import write_evaluation
from luthier.records.comparison import Judgement
from luthier.records.evaluation import (
    EvaluationRecord,
    MetricResult,
    ModelStamp,
    SampleRecord,
    TemplateStamp,
)
from luthier.records.run_directory import RunDirectory
from luthier.reports.changes import judgement_table
from luthier.reports.format import ABSENT

NUM = 12
Rule = Callable[[str, str], str]
_SHOWN = re.compile(r"Answer A:\n\n(.*?)\n\nAnswer B:\n\n(.*?)\n\nWhich", re.DOTALL)


def judging(server: Any, rule: Rule) -> dict[str, Any]:
    """Let the server judge by a rule over both answers; the settings that name it."""

    def answer(path: str, body: Any) -> Any:
        if path == "/models":
            return {"data": [{"id": "judge"}]}
        found = _SHOWN.search(body["messages"][-1]["content"])
        assert found
        return {"choices": [{"message": {"content": rule(found[1], found[2])}}]}

    server.rule = answer
    return {"model.id": server.url, "model.endpoint.backoff": 0.01, "model.endpoint.retries": 0}


def longer(first: str, second: str) -> str:
    if len(first) == len(second):
        return "Both are alike.\nVerdict: tie"
    return f"It says more.\nVerdict: {'A' if len(first) > len(second) else 'B'}"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run with stored answers: ``run("a", answer_of_number)``."""

    def make(name: str, answer: Callable[[int], str], num: int = NUM) -> Path:
        directory = RunDirectory.create(tmp_path, name)
        directory.config.write_text("{}", encoding="utf-8")
        samples = [
            SampleRecord(
                id=str(number),
                group=str(number // 2),
                prompt=f"{name}: what is {number}?",
                prediction=answer(number),
                references=("a number",),
                scores={"words": 1.0},
                finish="stop",
            )
            for number in range(num)
        ]
        metric = MetricResult(value=1, low=1, high=1, n=num, name="words", signature="words")
        record = EvaluationRecord(
            task="numbers",
            split="test",
            model=ModelStamp(id=name, parameters=0, dtype="", architecture=""),
            template=TemplateStamp(id="t", hash="0"),
            shots=0,
            chat_template=False,
            metrics=(metric,),
            seconds=1,
            generated_tokens=1,
            prompt_tokens=1,
            truncated_outputs=0,
            versions={},
        )
        write_evaluation(directory, record, samples)
        return directory.path

    return make


def test_the_longer_answer_wins_in_both_orders(loopback: Any, run: Any) -> None:
    """Of twelve answers, six are longer, three are shorter, and three are equal."""
    settings = judging(loopback, longer)
    base = run("base", lambda n: "a number")
    lengths = ["a long number"] * 6 + ["short"] * 3 + ["a number"] * 3
    mine = run("mine", lambda n: lengths[n])
    (judgement,) = luthier.judge([base, mine], None, settings, Console(quiet=True))
    assert (judgement.candidate, judgement.baseline, judgement.task) == ("mine", "base", "numbers")
    assert (judgement.wins, judgement.losses, judgement.ties) == (6, 3, 3)
    assert (judgement.equal, judgement.inconsistent, judgement.unread) == (3, 0, 0)
    assert judgement.win_rate.value == pytest.approx(7.5 / 12)
    assert judgement.win_rate.low < 7.5 / 12 < judgement.win_rate.high
    assert len(loopback.bodies("/chat/completions")) == 2 * 9  # equal answers are not asked
    assert judgement.judge.endpoint == loopback.url
    opened = RunDirectory(mine)
    assert Judgement.read(opened.judgement("numbers", "base")) == judgement
    pairs = list(read_lines(opened.judged_pairs("numbers", "base")))
    assert [pair["extracted"]["outcome"] for pair in pairs] == (
        ["win"] * 6 + ["loss"] * 3 + ["tie"] * 3
    )
    assert pairs[0]["extracted"]["as_second"] == "It says more.\nVerdict: B"
    # Turned round, wins are losses.
    (turned,) = luthier.judge([mine, base], None, settings, Console(quiet=True))
    assert turned.win_rate.value == pytest.approx(1 - judgement.win_rate.value)


def test_a_judge_that_always_says_the_same_decides_nothing(loopback: Any, run: Any) -> None:
    settings = judging(loopback, lambda _first, _second: "Verdict: A")
    runs = [run("base", lambda n: "a number"), run("mine", lambda n: "a long number")]
    (judgement,) = luthier.judge(runs, None, settings, Console(quiet=True))
    assert (judgement.ties, judgement.inconsistent, judgement.inconsistency) == (NUM, NUM, 1.0)
    assert judgement.win_rate.value == 0.5
    cells = [str(cell) for column in judgement_table([judgement]).columns for cell in column.cells]
    assert "100%" in cells


def test_what_cannot_be_read_is_counted(loopback: Any, run: Any) -> None:
    settings = judging(
        loopback,
        lambda first, second: "I cannot say." if "3" in first + second else longer(first, second),
    )
    runs = [run("base", lambda n: "a number"), run("mine", lambda n: f"a long number {n}")]
    (judgement,) = luthier.judge(runs, None, settings, Console(quiet=True))
    assert (judgement.wins, judgement.ties, judgement.unread) == (NUM - 1, 1, 1)
    assert judgement.inconsistency == 0.0


def test_one_run_is_compared_with_the_accepted_answers(loopback: Any, run: Any) -> None:
    settings = judging(loopback, longer)
    (judgement,) = luthier.judge(
        [run("mine", lambda n: "a long number")], None, settings, Console(quiet=True)
    )
    assert (judgement.baseline, judgement.wins) == ("references", NUM)


def test_an_interrupted_judgement_goes_on(loopback: Any, run: Any) -> None:
    settings = {**judging(loopback, longer), "model.endpoint.concurrency": 1}
    runs = [run("base", lambda n: "a number"), run("mine", lambda n: f"a long number {n}")]
    rule = loopback.rule

    def dying(path: str, body: Any) -> Any:
        if len(loopback.seen) > 9:
            raise loopback.reply(500)
        return rule(path, body)

    loopback.rule = dying
    with pytest.raises(ResourceError):
        luthier.judge(runs, None, settings, Console(quiet=True))
    loopback.rule, asked = rule, len(loopback.seen)
    luthier.judge(runs, None, settings, Console(quiet=True))
    luthier.judge(runs, None, settings, Console(quiet=True))
    assert len(loopback.seen) - asked == 2 * NUM - 8 + 2  # 8 were kept; the models, twice


def test_several_runs_are_judged_against_the_first(loopback: Any, run: Any) -> None:
    settings = judging(loopback, longer)
    runs = [run(name, lambda n, x=name: f"a number {x}") for name in ("a", "bb", "ccc")]
    found = luthier.judge(runs, None, settings, Console(quiet=True))
    assert [(each.candidate, each.baseline, each.wins) for each in found] == [
        ("bb", "a", NUM),
        ("ccc", "a", NUM),
    ]


def test_a_model_in_files_judges_too(run: Any, tiny_llama: Path) -> None:
    """A random one says nothing that could be read."""
    runs = [run("base", lambda n: "a number", 2), run("mine", lambda n: "a long number", 2)]
    settings = {"model.id": str(tiny_llama), "model.dtype": "float32"}
    own = runs[0].parent / "judge.yaml"
    own.write_text(
        "name: own\nprompt: '{{ first }} or {{ second }}?'\nverdict: {pattern: 'one|two'}\n"
        "words: {first: one, second: two}\nmax_new_tokens: 3\n",
        encoding="utf-8",
    )
    shown = Console(io.StringIO())
    (judgement,) = luthier.judge(runs, None, settings, shown, template=own)
    assert (judgement.unread, judgement.template.id) == (2, "own")
    said = shown._rich.file.getvalue()  # type: ignore[attr-defined]
    assert "2 of 2 verdicts on mine cannot be read" in " ".join(said.split())
    columns = {str(one.header): list(one.cells) for one in judgement_table([judgement]).columns}
    assert [str(columns[name][0]) for name in ("win rate", "interval")] == [ABSENT, ABSENT]
    assert judgement.win_rate.signature.startswith("win_rate|judge:tiny-llama|template:own@")


def test_what_cannot_be_judged(loopback: Any, run: Any) -> None:
    settings = judging(loopback, longer)
    with pytest.raises(UsageError, match="nothing to judge"):
        luthier.judge([], None, settings, Console(quiet=True))
    runs = [run("base", lambda n: "a number"), run("mine", lambda n: "a number", 3)]
    with pytest.raises(DataError, match="one system only"):
        luthier.judge(runs, None, settings, Console(quiet=True))
    assert not loopback.seen
