"""The kinds of columns, classes, and doubts that a table's rows show."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.errors import UsageError
from luthier.core.row import Row
from luthier.data.column_kinds import ColumnValues
from luthier.data.profile import profile_rows
from luthier.records.data_profile import DataProfile

QUEUES = ("billing", "technical", "account", "shipping")


def profile(rows: list[dict[str, Any]], **given: Any) -> DataProfile:
    return profile_rows([Row(row, f"a.csv:{n}") for n, row in enumerate(rows, 2)], **given)


def tickets(count: int = 120) -> list[dict[str, Any]]:
    return [
        {
            "ticket_id": f"T-{n:05}",
            "created": f"2024-01-{n % 28 + 1:02}",
            "amount": f"{n},50",
            "subject": f"Subject {n % 7}",
            "body": f"My order {n} has not arrived, and I wait for it.",
            "queue": QUEUES[n % 4],
            "priority": ("low", "normal", "high")[n % 3],
            "customer": f"C{n % 40}",
            "shop": "main",
            "empty": "",
        }
        for n in range(count)
    ]


def test_every_kind_of_column() -> None:
    found = profile(tickets())
    assert {column.name: column.kind for column in found.columns} == {
        "ticket_id": "id",
        "created": "date",
        "amount": "number",
        "subject": "text",
        "body": "text",
        "queue": "label",
        "priority": "unused",
        "customer": "group",
        "shop": "constant",
        "empty": "unused",
    }
    assert found.texts == ("subject", "body")
    assert [(each.label, each.rows) for each in found.classes] == [
        ("account", 30),
        ("billing", 30),
        ("shipping", 30),
        ("technical", 30),
    ]
    assert found.other_labels == ("priority",)
    assert any("could also be 'priority'" in doubt for doubt in found.unsure)


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ({"review": "It was a long and fine day.", "stars": "4"}, "stars"),
        ({"text": "It was a long and fine day.", "sentiment": "1"}, "sentiment"),
        ({"sentence1": "A man sings aloud.", "sentence2": "He sings.", "label": 1}, "label"),
        ({"Nachricht": "Mein Paket kam nie bei mir an.", "Kategorie": "Versand"}, "Kategorie"),
        ({"tweet": "i love that so much today", "is_spam": True}, "is_spam"),
    ],
)
def test_labels_of_other_tables(values: dict[str, Any], label: str) -> None:
    right = values[label]
    other = {"4": "2", "1": "0", 1: 0, "Versand": "Konto"}
    rows = [
        {k: (f"{v} {n}" if k != label else (right if n % 2 else other[right]))
         for k, v in values.items()}
        for n in range(60)
    ]  # fmt: skip
    found = profile(rows)
    assert found.label == label
    assert set(found.texts) == values.keys() - {label}


def test_open_answers() -> None:
    rows = [
        {"question": f"Who wrote the book {n}?", "answer": f"It was the author {n} of it."}
        for n in range(40)
    ]
    found = profile(rows)
    assert (found.label, found.answer, found.texts) == ("", "answer", ("question",))


def pairs(question: str, answer: str, **more: str) -> list[dict[str, Any]]:
    return [
        {
            question: f"Who wrote the book {n}?",
            answer: f"It was the author {n} of it.",
            **{name: pattern.format(n % 4) for name, pattern in more.items()},
        }
        for n in range(40)
    ]


@pytest.mark.parametrize(
    ("question", "answer"), [("q", "a"), ("Q", "A"), ("question", "answer"), ("Frage", "Antwort")]
)
def test_open_answers_beside_other_properties(question: str, answer: str) -> None:
    found = profile(pairs(question, answer, kind="kind {}"))
    assert (found.label, found.answer, found.texts) == ("", answer, (question,))
    (doubt,) = [doubt for doubt in found.unsure if f"the text {answer!r}" in doubt]
    assert "could also be the label 'kind': --label kind" in doubt
    assert "no column has few distinct values" not in doubt
    assert found.other_labels == ("kind",)


def test_a_label_beside_open_answers() -> None:
    found = profile(pairs("question", "reply", category="class {}"))
    assert (found.label, found.texts) == ("category", ("question",))
    (doubt,) = [doubt for doubt in found.unsure if "could also be the text 'reply'" in doubt]
    assert "--label reply" in doubt
    assert found.other_labels == ("reply",)


def test_a_column_named_a_is_an_answer_only_beside_its_question() -> None:
    rows = [
        {
            "question": f"Which is {n}?",
            "a": f"the text {n} of a",
            "b": f"the text {n} of b",
            "y": n % 2,
        }
        for n in range(40)
    ]
    found = profile(rows)
    assert (found.label, found.texts) == ("y", ("question", "a", "b"))
    assert not found.other_labels


@pytest.mark.parametrize("name", ["question_id", "frage_id", "text_id", "doc_id"])
@pytest.mark.parametrize("repeated", [0, 2])
def test_ids_are_never_asked_though_some_repeat(name: str, repeated: int) -> None:
    rows = [{name: f"NINDS_QA/{max(n, repeated):05}", **row} for n, row in enumerate(tickets())]
    found = profile(rows)
    assert found.column(name).kind == "id"
    assert name not in found.texts


def test_what_the_user_names_is_believed() -> None:
    found = profile(tickets(), label="priority", texts=["body"], group="")
    assert (found.label, found.texts, found.group) == ("priority", ("body",), "")
    assert not any("could also be" in doubt for doubt in found.unsure)
    assert any("belong together by 'customer'" in doubt for doubt in found.unsure)


@pytest.mark.parametrize("option", ["label", "texts", "group"])
def test_a_column_that_is_not_there(option: str) -> None:
    given: Any = ["quue"] if option == "texts" else "quue"
    with pytest.raises(UsageError, match="there is no column 'quue'") as caught:
        profile(tickets(), **{option: given})
    assert "did you mean 'queue'?" in caught.value.fix


def test_misspelt_labels() -> None:
    rows = tickets()
    rows[0]["queue"], rows[1]["queue"], rows[2]["queue"] = "biling", "Technical", " account "
    rows[3]["queue"] = ""
    found = profile(rows)
    assert found.typos == {"biling": "billing", "Technical": "technical"}
    assert "account" in {each.label for each in found.classes}
    told = " ".join(found.unsure)
    assert "'biling' (1 row) may be a misspelling of 'billing' (29 rows)" in told
    assert "1 row without 'queue'" in told


def test_labels_that_are_numbers_are_never_misspelt() -> None:
    rows = [{"text": f"It is the day number {n}.", "label": "2020"} for n in range(40)]
    rows[0]["label"] = "2021"
    assert profile(rows).typos == {}


def test_rare_labels_and_few_groups_are_named() -> None:
    rows = tickets()
    for row in rows[:3]:
        row["queue"] = "legal"
    for n, row in enumerate(rows):
        row["customer"] = f"C{n % 9}"
    told = " ".join(profile(rows).unsure)
    assert "'legal' (3)" in told
    assert "belong together by 'customer' (9 values): --group customer keeps each customer" in told
    assert not profile(rows).group
    told = " ".join(profile(rows, group="customer").unsure)
    assert "'customer' has only 9 values, so the test split has about 3 of them" in told
    told = " ".join(profile(rows * 10, group="customer").unsure)
    assert "has about 1 of them" in told  # a tenth of many rows


@pytest.mark.parametrize(("values", "group"), [(29, ""), (30, "customer")])
def test_a_column_with_few_values_is_no_group(values: int, group: str) -> None:
    rows = tickets()
    for n, row in enumerate(rows):
        row["customer"] = f"C{n % values}"
    found = profile(rows)
    assert found.group == group
    assert "customer" not in (*found.texts, *found.other_labels)


def test_a_column_that_gives_the_label_away() -> None:
    rows = tickets()
    for row in rows:
        row["code"] = f"Q{QUEUES.index(row['queue'])}"
    (doubt,) = [d for d in profile(rows).unsure if "gives the label away" in d]
    assert "'code'" in doubt
    rows[0]["code"] = "Q3"
    assert not any("gives the label away" in doubt for doubt in profile(rows).unsure)


def test_a_file_without_a_header() -> None:
    names = ("The sun shines on us.", "1")
    rows = [dict(zip(names, (f"It is the day {n}.", str(n % 2)), strict=True)) for n in range(40)]
    assert any("may have no header" in doubt for doubt in profile(rows).unsure)
    assert not any("may have no header" in doubt for doubt in profile(tickets()).unsure)


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [("{:05}-a", "id"), ("dev_{}", "id"), ("{}0000.25", "number"), ("word", "constant")],
)
def test_ids_and_numbers_that_are_all_different(pattern: str, kind: str) -> None:
    rows = [{"thing": pattern.format(n), "text": f"It is the day {n}."} for n in range(40)]
    assert profile(rows).column("thing").kind == kind


def test_duplicates_and_contradictions() -> None:
    rows = tickets()
    rows += [dict(rows[0]), {**rows[1], "queue": "shipping"}]
    found = profile(rows)
    assert (found.duplicates, found.contradictions) == (1, 1)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "text", "label", "id", "x y"]),
            st.one_of(st.none(), st.text(max_size=20), st.integers(), st.floats(), st.booleans(),
                      st.lists(st.integers(), max_size=2)),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_any_rows_have_a_profile(rows: list[dict[str, Any]]) -> None:
    found = profile(rows)
    assert found.rows == len(rows)
    assert sum(each.rows for each in found.classes) <= len(rows)
    for column in found.columns:
        assert column.distinct + column.missing <= len(rows) or column.distinct <= len(rows)
    roles = [found.label, found.answer, found.group, *found.texts]
    chosen = [name for name in roles if name]
    assert len(set(chosen)) == len(chosen), "a column has two roles"


def test_numbers_with_a_decimal_comma() -> None:
    column = ColumnValues.of("x", ["1,5", "-2,75", "1.234,50", "3", "12,5 %", "1 000,5"])
    assert not profile([{"x": value, "text": "a b c d"} for value in column.counts]).label
    kinds = {c.name: c.kind for c in profile([{"x": value} for value in column.counts]).columns}
    assert kinds == {"x": "number"}
