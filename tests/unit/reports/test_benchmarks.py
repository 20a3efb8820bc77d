"""The table of benchmark tasks."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from tests.records import evaluation_record, metric_result

from luthier.records.evaluation import EvaluationRecord, SuiteRecord
from luthier.reports.benchmarks import Benchmarked, asked_lines, benchmark_table, label_lines


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


def asked(task: str, **counts: object) -> EvaluationRecord:
    return evaluation_record(task, metric_result("acc", 0.5), **counts)


def test_what_was_done_to_rows_prompts_and_answers_is_said() -> None:
    drawn = "5 of 20 rows, drawn with the seed 3"
    records = [
        asked("a", drawn=drawn, cut_prompts=2, other_shots=1, fewer_shots=3),
        asked("b", drawn=drawn),
        asked("c", drawn=drawn),
        asked("d", truncated_outputs=1, unfinished=1),
        asked("e"),
    ]
    assert asked_lines([("one", records)]) == [
        f"a: {drawn}; 2 prompts were cut; 1 question was shown another worked example, being one "
        "itself; 3 questions had fewer worked examples, to fit.",
        f"b, c: {drawn}.",
        "d: 1 answer was cut at the limit; 1 answer ends before its reasoning does.",
    ]


def test_a_system_is_named_where_not_the_same_is_said_of_all() -> None:
    first = [asked("a", drawn="5 rows"), asked("b", cut_prompts=1), asked("c")]
    second = [asked("a", drawn="5 rows"), asked("b", cut_prompts=2), asked("c", cut_prompts=1)]
    assert asked_lines([("one", first), ("two", second)]) == [
        "a: 5 rows.",
        "b by one, c by two: 1 prompt was cut.",
        "b by two: 2 prompts were cut.",
    ]
