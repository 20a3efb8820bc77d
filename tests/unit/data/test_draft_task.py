"""Drafted tasks are tasks, and ask rows as they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.errors import DataError
from luthier.core.row import Row
from luthier.data.draft_task import TaskDraft, draft_task
from luthier.data.profile import profile_rows
from luthier.tasks.generation import GenerationTask
from luthier.tasks.likelihood import ChoiceTask


def draft(rows: list[dict[str, Any]], *, corrected: bool = False, **given: Any) -> TaskDraft:
    placed = [Row(row, f"a.csv:{n}") for n, row in enumerate(rows, 2)]
    profile = profile_rows(placed, **given)
    return draft_task("a", placed, profile, file="a.csv", corrected=corrected)


def queues(*more: str) -> list[dict[str, Any]]:
    labels = [*["billing", "account"] * 20, *more]
    return [{"body": f"Where is order {n} now?", "queue": q} for n, q in enumerate(labels)]


def test_a_task_with_choices() -> None:
    found = draft(queues())
    task = found.task
    assert isinstance(task, ChoiceTask)
    assert dict(task.choices) == {"account": "account", "billing": "billing"}
    assert task.files[0].splits == {"all": "a.csv"}
    example = found.example()
    assert example.prompt == "Body: Where is order 0 now?\nQueue (account or billing):"
    assert example.solution == "billing"
    assert "account: account                # 20 rows" in found.text


def test_misspellings_are_a_comment_until_they_are_wanted() -> None:
    rows = queues("biling")
    commented = draft(rows)
    assert "# labels: {biling: billing}" in commented.text
    assert "biling" in commented.task.label_words
    assert "(account or billing):" in commented.task.prompt
    corrected = draft(rows, corrected=True)
    assert corrected.task.files[0].labels == {"biling": "billing"}
    assert "biling" not in corrected.task.label_words
    last = Row(rows[-1], "a.csv:42")
    assert corrected.task.document(last, 0, {"biling": "billing"}).solution == "billing"


def test_an_open_answer() -> None:
    rows = [
        {"question": f"Who wrote book {n}?", "answer": f"The {n}th author wrote it, I think." * 3}
        for n in range(40)
    ]
    task = draft(rows).task
    assert isinstance(task, GenerationTask)
    assert task.metrics == ("rougeL", "chrf")
    assert "max_new_tokens" not in task.model_fields_set


def test_the_metrics_of_labels_are_left_to_the_run() -> None:
    for rows in (queues(), queues(*["billing"] * 100)):
        found = draft(rows)
        assert not found.task.metrics
        assert "# metrics: [macro_f1, accuracy]" in found.text
        assert "max_new_tokens" not in found.text


def test_padded_and_missing_cells() -> None:
    rows = queues()
    rows[0]["queue"] = " billing "
    rows[1]["body"] = None
    rows = [{**row, "subject": "Hello there, it is me" if n % 2 else None, "body": row["body"]}
            for n, row in enumerate(rows)]  # fmt: skip
    found = draft(rows, texts=["subject", "body"])
    for n, row in enumerate(rows):
        assert found.task.document(Row(row, "x"), n, {}).solution in ("billing", "account")


def test_the_name_of_a_task_of_the_library_is_avoided() -> None:
    placed = [Row(row, "x") for row in queues()]
    found = draft_task("gsm8k", placed, profile_rows(placed))
    assert found.task.name == "gsm8k-rows"
    assert not found.task.has_rows


@pytest.mark.parametrize(
    ("rows", "given", "says"),
    [
        ([], {}, "there are no rows"),
        ([{"text": f"only a text number {n}"} for n in range(30)], {}, "can be the right answer"),
        ([{"label": str(n % 2), "x": n} for n in range(30)], {}, "can be the question"),
        ([{"text": f"some text here {n}", "label": "a"} for n in range(30)], {"label": "label"},
         "has one value in all rows"),
    ],
)  # fmt: skip
def test_rows_without_a_task(rows: Any, given: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        draft(rows, **given)
    assert caught.value.fix


HARD = st.one_of(
    st.sampled_from(
        ["{{ x }}", "{% if %}", "{# no #}", "yes", "no", "null", "true", "1", "1.0", "a: b", "- a",
         "#", "'", '"', "\\", "é ü", "a{b", "}}", "[x]", "{a: 1}", "&a", "*a", "!x", "%", "@", "`",
         "a\u2028b", "\x85", "row", "None", "~", "=", "<<", "💸"]
    ),
    st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=12),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.lists(HARD.map(str.strip).filter(bool), min_size=2, max_size=4, unique_by=str.casefold),
    st.lists(HARD.map(str.strip).filter(bool), min_size=3, max_size=3, unique=True),
)
def test_any_names_and_labels(labels: list[str], names: list[str]) -> None:
    """Cells of the prompt and the answer are those of the row, whatever they look like."""
    text, right, beside = names
    rows = [
        {text: f"A text {n} of words.", right: labels[n % len(labels)], beside: "x"}
        for n in range(40)
    ]
    found = draft(rows, label=right, texts=[text])
    assert set(found.task.label_words) == set(labels)
    for n, row in enumerate(rows[:4]):
        document = found.task.document(Row(row, "x"), n, {})
        assert f"A text {n} of words." in document.prompt
        assert document.solution == " ".join(labels[n % len(labels)].split())
