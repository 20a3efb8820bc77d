"""The table of benchmark tasks."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from luthier.core.records import (
    EvaluationRecord,
    MetricResult,
    ModelStamp,
    SuiteRecord,
    TemplateStamp,
)
from luthier.report.benchmarks import Benchmarked, benchmark_table, label_lines


def metric(name: str, value: float, n: int = 20) -> MetricResult:
    return MetricResult(
        value=value, low=value - 0.1, high=value + 0.1, n=n, name=name, signature=name
    )


def record(task: str, *metrics: MetricResult, labels: dict[str, str]) -> EvaluationRecord:
    return EvaluationRecord(
        task=task,
        split="test",
        model=ModelStamp(id="none", parameters=0, dtype="float32", architecture="none"),
        template=TemplateStamp(id=task, hash="aa"),
        shots=5,
        chat_template=False,
        metrics=metrics,
        seconds=1.0,
        generated_tokens=0,
        prompt_tokens=10,
        truncated_outputs=0,
        versions={},
        format="lm-eval",
        labels=labels,
    )


def system(name: str, *records: EvaluationRecord) -> Benchmarked:
    suite = SuiteRecord(
        suite="all",
        format="lm-eval",
        shots=(5,),
        scores=(metric("all", 0.5), metric("all/half", 0.25)),
        tasks=("a", "b"),
        missing=("c",),
    )
    return Benchmarked(name, records, (suite,))


def test_systems_stand_side_by_side_and_what_one_lacks_is_a_dash() -> None:
    first = system("one", record("a", metric("acc", 0.7), labels={}))
    second = system("two", record("b", metric("acc", 0.4), labels={}))
    output = StringIO()
    Console(file=output, width=120).print(benchmark_table([first, second]))
    head, _, *rows = [line.split() for line in output.getvalue().splitlines()]
    assert head == ["task", "metric", "format", "shots", "n", "one", "two"]
    assert rows[0][:5] == ["all", "(2", "of", "3", "tasks)"]
    assert rows[1][:3] == ["all/half", "score", "lm-eval"]
    assert rows[2] == ["a", "acc", "lm-eval", "5", "20", "0.700", "[0.600,", "0.800]", "–"]
    assert rows[3] == ["b", "acc", "lm-eval", "5", "20", "–", "0.400", "[0.300,", "0.500]"]


def test_the_words_of_labels_are_said_once_for_tasks_that_share_them() -> None:
    letters = {"A": "A", "B": "B"}
    records = [record(f"mmlu/{n}", metric("acc", 0.5), labels=letters) for n in range(5)]
    other = record("rte", metric("acc", 0.5), labels={"entailment": "True"})
    assert label_lines([*records, other]) == [
        "mmlu/0 and 4 more: A = 'A', B = 'B'",
        "rte: entailment = 'True'",
    ]
