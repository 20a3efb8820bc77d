from __future__ import annotations

import dataclasses
import json
from math import e
from typing import Any

import pytest

from luthier.records.ladder import LadderRecord
from luthier.records.run_directory import RunDirectory
from luthier.reports.content import read_content
from luthier.reports.examples import MAX_CHARACTERS, MAX_EXAMPLES, MAX_PROMPT, collect_examples
from luthier.reports.fair_shares import fair_shares
from luthier.reports.messages import Message

TASK = "python-docstrings"


def rewrite(run: RunDirectory, change: Any) -> None:
    path = run.samples(TASK)
    lines = [change(json.loads(line)) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines if line))


def test_outputs_of_all_rungs_are_joined_by_id(adapt_run: RunDirectory) -> None:
    examples = collect_examples(read_content(adapt_run))
    assert examples.systems == ("zero-shot", "one-shot", "few-shot", "prompt-tuning", "lora")
    assert (examples.total, len(examples.rows)) == (128, 128)
    row = examples.rows[7]
    assert row.id == f"{TASK}/0007"
    wanted = json.loads(adapt_run.rung("lora").samples(TASK).read_text().splitlines()[7])
    assert row.outputs[4]
    assert (row.outputs[4].text, row.outputs[4].score) == (
        wanted["prediction"],
        wanted["scores"]["rougeL"],
    )


def test_each_different_prompt_is_shown_with_its_rungs(adapt_run: RunDirectory) -> None:
    prompts = collect_examples(read_content(adapt_run)).rows[0].prompts
    assert [prompt.systems for prompt in prompts] == [
        ("zero-shot", "prompt-tuning", "lora"),
        ("one-shot",),
        ("few-shot",),
    ]
    assert all("Return the sum" not in message.text for message in prompts[0].messages)
    assert any("Return the sum" in message.text for message in prompts[2].messages)


def test_a_prompt_of_a_baseline_is_shown_if_there_is_no_other(adapt_run: RunDirectory) -> None:
    content = read_content(adapt_run)
    first, *others = content.systems
    renamed = dataclasses.replace(first, name="nearest")
    mixed = collect_examples(dataclasses.replace(content, systems=(renamed, *others)))
    named = {name for prompt in mixed.rows[0].prompts for name in prompt.systems}
    assert named == set(mixed.systems) - {"nearest"}
    only = collect_examples(dataclasses.replace(content, systems=(renamed,)))
    assert only.rows[0].prompts[0].systems == ("nearest",)


def test_the_first_view_holds_the_largest_differences(adapt_run: RunDirectory) -> None:
    examples = collect_examples(read_content(adapt_run))
    spreads = [row.spread for row in examples.first(10)]
    assert spreads == sorted((row.spread for row in examples.rows), reverse=True)[:10]
    assert [row.number for row in examples.rows] == list(range(1, 129))


def test_where_nothing_differs_the_first_rows_come_first(tune_run: RunDirectory) -> None:
    examples = collect_examples(read_content(tune_run))
    assert not examples.has_differences
    assert examples.first(3) == list(examples.rows[:3])


def test_spread_and_regression_follow_the_scores(adapt_run: RunDirectory) -> None:
    fixed = {"zero-shot": 0.5, "one-shot": 0.2, "few-shot": 0.3, "prompt-tuning": 0.4, "lora": 0.45}
    for name, score in fixed.items():
        rewrite(
            adapt_run.rung(name), lambda line, score=score: line | {"scores": {"rougeL": score}}
        )
    row = collect_examples(read_content(adapt_run)).rows[0]
    assert row.spread == 0.5 - 0.2
    assert row.regressed


def test_with_a_metric_where_lower_is_better_a_fall_is_no_regression(
    adapt_run: RunDirectory,
) -> None:
    fixed = {"zero-shot": 0.5, "lora": 0.45}
    for name in ("zero-shot", "one-shot", "few-shot", "prompt-tuning", "lora"):
        rung, score = adapt_run.rung(name), fixed.get(name, 0.5)
        rewrite(rung, lambda line, score=score: line | {"scores": {"rougeL": score}})
        text = rung.evaluation(TASK).read_text()
        rung.evaluation(TASK).write_text(
            text.replace('"higher_is_better": true', '"higher_is_better": false')
        )
    assert not collect_examples(read_content(adapt_run)).rows[0].regressed


def test_an_example_that_one_rung_lacks_leaves_a_gap(adapt_run: RunDirectory) -> None:
    rewrite(adapt_run.rung("lora"), lambda line: None if line["id"].endswith("0003") else line)
    row = collect_examples(read_content(adapt_run)).rows[3]
    assert row.outputs[4] is None
    assert not row.regressed
    assert len([output for output in row.outputs if output]) == 4


def test_a_sample_without_the_metric_has_no_score(tune_run: RunDirectory) -> None:
    rewrite(tune_run, lambda line: line | {"scores": {}})
    row = collect_examples(read_content(tune_run)).rows[0]
    assert row.outputs[0]
    assert row.outputs[0].score is None
    assert row.spread == 0


def test_very_many_and_very_long_examples_are_cut_and_counted(tune_run: RunDirectory) -> None:
    line = json.loads(tune_run.samples(TASK).read_text().splitlines()[0])
    count = MAX_EXAMPLES + 20
    lines = [line | {"id": str(index), "prediction": "a" * 9_000} for index in range(count)]
    tune_run.samples(TASK).write_text("".join(json.dumps(each) + "\n" for each in lines))
    examples = collect_examples(read_content(tune_run))
    assert (examples.total, len(examples.rows)) == (count, MAX_EXAMPLES)
    assert examples.rows[0].outputs[0]
    assert examples.rows[0].outputs[0].text == "a" * MAX_CHARACTERS + " … [5,000 more characters]"


def choice(index: int, chosen: int) -> dict[str, Any]:
    """A sample of a task with two labels, of which the first is right."""
    return {
        "id": str(index),
        "prompt": "p" * 10_000 + f" question {index}?",
        "prediction": str(chosen),
        "references": ["0"],
        "choices": ["0", "1"],
        "words": ["even", "odd"],
        "likelihoods": [-1.0 - chosen, -2.0 + chosen],
        "scores": {"rougeL": 1.0 - chosen},
        "finish": "stop",
    }


def write(run: RunDirectory, lines: list[dict[str, Any]], task: str = TASK) -> None:
    run.samples(task).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_choices_stand_with_their_likelihoods(tune_run: RunDirectory) -> None:
    write(tune_run, [choice(0, chosen=1), choice(1, chosen=0) | {"likelihoods": [-1.0]}])
    examples = collect_examples(read_content(tune_run))
    wrong, right = examples.rows
    assert [(each.label, each.words, each.right) for each in wrong.choices] == [
        ("0", "even", True),
        ("1", "odd", False),
    ]
    assert wrong.outputs[0]
    assert right.outputs[0]
    assert (wrong.outputs[0].likelihoods, right.outputs[0].likelihoods) == ((-2.0, -1.0), ())
    assert (wrong.right, right.right, examples.has_right) == (False, True, True)
    assert wrong.asked.endswith("question 0?")
    (prompt,) = wrong.prompts
    assert prompt.messages == (Message("prompt", "p" * 10_000 + " question 0?"),)
    assert (wrong.outputs[0].right, right.outputs[0].right) == (False, True)
    assert wrong.outputs[0].probabilities == pytest.approx((1 / (1 + e), e / (1 + e)))
    assert right.outputs[0].probabilities == ()


def test_only_the_middle_of_a_very_long_message_is_left_out(tune_run: RunDirectory) -> None:
    line = choice(0, chosen=1) | {"prompt": "start " + "p" * MAX_PROMPT + " end?"}
    write(tune_run, [line])
    (message,) = collect_examples(read_content(tune_run)).rows[0].prompts[0].messages
    assert message.text.startswith("start pp")
    assert message.text.endswith("pp end?")
    assert " … [11 characters omitted] … " in message.text


def test_of_too_many_the_telling_ones_are_shown(tune_run: RunDirectory) -> None:
    """Of two tasks the small one is whole; of the large one the wrong answers come first."""
    record = tune_run.evaluation(TASK).read_text().replace(f'"{TASK}"', '"few"')
    tune_run.evaluation("few").write_text(record)
    write(tune_run, [choice(index, chosen=0) for index in range(10)], "few")
    write(tune_run, [choice(index, chosen=int(index >= 600)) for index in range(700)])
    examples = collect_examples(read_content(tune_run))
    assert (examples.total, len(examples.rows)) == (710, MAX_EXAMPLES)
    assert examples.tasks == ("few", TASK)
    many = [row for row in examples.rows if row.task == TASK]
    assert len(many) == MAX_EXAMPLES - 10
    assert sum(row.right is False for row in many) == 100
    assert [int(row.id) for row in many] == sorted(int(row.id) for row in many)


def test_a_score_between_zero_and_one_is_neither_right_nor_wrong(tune_run: RunDirectory) -> None:
    assert not collect_examples(read_content(tune_run)).has_right


def test_room_is_shared_fairly() -> None:
    assert fair_shares([3, 100, 50], 90) == [3, 44, 43]
    assert fair_shares([1, 2], 10) == [1, 2]
    assert fair_shares([], 10) == []


def test_a_run_with_two_tasks_shows_both(tune_run: RunDirectory) -> None:
    record = tune_run.evaluation(TASK).read_text().replace(f'"{TASK}"', '"zzz"')
    tune_run.evaluation("zzz").write_text(record)
    tune_run.samples("zzz").write_bytes(tune_run.samples(TASK).read_bytes())
    examples = collect_examples(read_content(tune_run))
    assert [row.task for row in examples.rows] == [TASK] * 128 + ["zzz"] * 128


def test_without_a_recommendation_nothing_regresses(adapt_run: RunDirectory) -> None:
    ladder = LadderRecord.read(adapt_run.ladder)
    answer = ladder.recommendation.model_copy(update={"rung": None})
    ladder.model_copy(update={"recommendation": answer}).write(adapt_run.ladder)
    examples = collect_examples(read_content(adapt_run))
    assert examples.recommended is None
    assert not any(row.regressed for row in examples.rows)
