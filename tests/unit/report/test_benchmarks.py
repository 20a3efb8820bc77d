"""The table of benchmark tasks."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from tests.records import evaluation_record, metric_result

from luthier.core.records import EvaluationRecord, SuiteRecord
from luthier.report.benchmarks import Benchmarked, benchmark_table, label_lines


def record(task: str, value: float, labels: dict[str, str]) -> EvaluationRecord:
    metric = metric_result("acc", value)
    return evaluation_record(task, metric, shots=5, format="lm-eval", labels=labels)


def system(name: str, *records: EvaluationRecord) -> Benchmarked:
    suite = SuiteRecord(
        suite="all",
        format="lm-eval",
        shots=(5,),
        scores=(metric_result("all", 0.5), metric_result("all/half", 0.25)),
        tasks=("a", "b"),
        missing=("c",),
    )
    return Benchmarked(name, records, (suite,))


def test_systems_stand_side_by_side_and_what_one_lacks_is_a_dash() -> None:
    first = system("one", record("a", 0.7, {}))
    second = system("two", record("b", 0.4, {}))
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
    records = [record(f"mmlu/{n}", 0.5, letters) for n in range(5)]
    other = record("rte", 0.5, {"entailment": "True"})
    assert label_lines([*records, other]) == [
        "mmlu/0 and 4 more: A = 'A', B = 'B'",
        "rte: entailment = 'True'",
    ]
