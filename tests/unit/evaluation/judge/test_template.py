"""How a judge is asked, and how its verdict is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.core.errors import DataError, UsageError
from luthier.evaluation.judge import load_judge_template

VALUES = {"question": "Why?", "reference": "", "first": "Because.", "second": "No {{ idea }}."}


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("A is right.\nVerdict: A", "first"),
        ("**Verdict: B**", "second"),
        ("Verdict: A\n\nOn second thoughts:\nVerdict: tie\n", "tie"),
        ("Verdict: C", None),
        ("A", None),
        ("My Verdict: A is clear", None),
        ("Verdict: A or B", None),
        ("verdict: a", None),
        ("", None),
    ],
)
def test_only_a_verdict_in_its_words_counts(said: str, place: str | None) -> None:
    assert load_judge_template().read(said) == place


def test_answers_are_shown_as_they_are() -> None:
    template = load_judge_template()
    system, user = template.example("id", VALUES).messages
    assert system.role == "system"
    assert "Answer A:\n\nBecause.\n\nAnswer B:\n\nNo {{ idea }}." in user.content
    assert "known to be good" not in user.content
    with_reference = template.example("id", {**VALUES, "reference": "Just so."})
    assert "known to be good:\n\nJust so." in with_reference.messages[-1].content


OWN = """\
name: mine
prompt: "{{ first }} or {{ second }}?"
verdict: {pattern: 'one|two'}
words: {first: one, second: two}
"""


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "judge.yaml"
    path.write_text(OWN, encoding="utf-8")
    template = load_judge_template(path)
    assert template.example("id", VALUES).messages[0].content == "Because. or No {{ idea }}.?"
    assert [template.read(said) for said in ("two, not one", "tie")] == ["second", None]
    changed = tmp_path / "changed.yaml"
    changed.write_text(OWN.replace("one|two", "two|one"), encoding="utf-8")
    assert load_judge_template(changed).stamp != template.stamp


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("second: two", "second: one", "each once"),
        ("{first: one, second: two}", "{first: one}", "must name first and second"),
        ("{{ second }}", "{{ other }}", "not other"),
        ("or {{ second }}", "", "must use first and second"),
        ("one|two", "(one", "no regular expression"),
        ("name: mine", "name: mine\nmodel: x", "has no key 'model'"),
    ],
)
def test_a_wrong_template_is_refused_with_its_place(
    before: str, after: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "judge.yaml"
    path.write_text(OWN.replace(before, after), encoding="utf-8")
    with pytest.raises(DataError, match=says) as caught:
        load_judge_template(path)
    assert str(path) in caught.value.where
    with pytest.raises(UsageError):
        load_judge_template(tmp_path / "none.yaml")
