from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.prompts.template import Template

WHERE = "rows.jsonl:7"


def make(**fields: Any) -> Template:
    values = {"name": "mine", "metrics": ["rougeL"], **fields}
    if "label" not in values:
        values.setdefault("completion", "{{ summary }}")
    return Template.model_validate({"prompt": "Sum up:\n{{ dialogue }}\n", **values})


def render(template: Template, needs_target: bool = True, **row: Any) -> Example:
    return template.render(row, where=WHERE, id="7", group="g", needs_target=needs_target)


def test_renders_an_open_answer() -> None:
    example = render(make(system="Be {{ tone }}."), dialogue="Hi.  \n", summary=" A\n", tone="kind")
    assert example == Example(
        id="7",
        messages=(Message("system", "Be kind."), Message("user", "Sum up:\nHi.")),
        references=(" A",),
        group="g",
        where=WHERE,
    )


def test_several_references_as_far_as_they_are_there() -> None:
    template = make(references=["{{ summary1 }}", "{{ summary2 }}"])
    assert render(template, dialogue="x", summary1="a", summary2="b").references == ("a", "b")
    assert render(template, dialogue="x", summary2="b").references == ("b",)
    assert render(template, dialogue="x", summary="a", summary1="a").references == ("a",)
    with pytest.raises(DataError, match="'summary'") as caught:
        render(template, dialogue="x", sumary="a")
    assert "did you mean 'sumary'?" in caught.value.fix


def classify(**fields: Any) -> Template:
    fields = {"choices": {0: "bad", 1: "good"}, **fields}
    return make(prompt="{{ text }}", label="{{ label }}", **fields)


def test_label_becomes_its_words() -> None:
    for label in (1, "1"):
        example = render(classify(), text="x", label=label)
        assert (example.references, example.choices) == (("good",), ("bad", "good"))
    truth = classify(choices={True: "yes", False: "no"})
    assert render(truth, text="x", label=True).references == ("yes",)


def test_words_may_come_from_the_row() -> None:
    template = classify(choices={"A": "{{ a }}", "B": "{{ b }}"})
    example = render(template, text="x", a="Rome", b="Oslo", label="B")
    assert (example.references, example.choices) == (("Oslo",), ("Rome", "Oslo"))
    assert template.input_columns == {"text", "a", "b"}


def test_label_outside_the_mapping_is_named_with_the_choices() -> None:
    with pytest.raises(DataError, match="'-1'") as caught:
        render(classify(), text="x", label=-1)
    assert caught.value.where == WHERE
    assert "'0' ('bad'), '1' ('good')" in caught.value.fix


def test_without_an_answer() -> None:
    assert render(classify(), needs_target=False, text="x").references == ()
    assert render(classify(), needs_target=False, text="x", label=0).references == ("bad",)
    assert render(make(), needs_target=False, dialogue="x").references == ()
    assert render(make(), needs_target=False, dialogue="x", summary="y").references == ("y",)
    for template, row in ((classify(), {"text": "x"}), (make(), {"dialogue": "x"})):
        with pytest.raises(DataError, match="needs the column"):
            render(template, **row)


def test_missing_column_names_what_there_is() -> None:
    with pytest.raises(DataError, match="needs the column 'dialogue'") as caught:
        render(make(), dialog="x", summary="y")
    assert caught.value.where == WHERE
    assert caught.value.fix == "did you mean 'dialog'? the columns are dialog, summary"


@pytest.mark.parametrize("row", [{"summary": " \n"}, {"dialogue": "", "summary": "y"}])
def test_empty_text_is_refused(row: dict[str, str]) -> None:
    template = make(prompt="{{ dialogue }}")
    with pytest.raises(DataError, match="is empty"):
        render(template, **{"dialogue": "x", **row})


def test_null_is_refused_and_its_column_named() -> None:
    with pytest.raises(DataError, match="null") as caught:
        render(make(), dialogue=None, summary="y")
    assert caught.value.fix == "null here: dialogue"
    assert caught.value.where == f"{WHERE}, 'prompt' of the template 'mine'"


def test_columns() -> None:
    template = make(system="{{ tone }}", prompt="{{ a }}{{ b | default }}")
    assert template.columns == {"tone", "a", "summary"}
    assert classify().columns == {"text", "label"}


def test_hash_follows_what_is_rendered() -> None:
    same = make(name="other", metrics="bleu", max_new_tokens=5, cluster="instruction")
    assert make().hash == same.hash
    others = [make(prompt="{{ dialogue }}"), make(system="x"), make(references=["{{ s }}"])]
    turned = classify(choices={1: "good", 0: "bad"})
    hashes = {template.hash for template in (make(), *others, classify(), turned)}
    assert len(hashes) == 6


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"completion": None}, "either a completion"),
        ({"label": "{{ x }}"}, "belong together"),
        ({"choices": {0: "a"}}, "belong together"),
        ({"label": "{{ x }}", "choices": {0: "a"}, "completion": "{{ y }}"}, "either a completion"),
        ({"label": "{{ x }}", "choices": {0: "a"}, "references": ["y"]}, "go with a completion"),
        ({"label": "{{ x }}", "choices": {None: "a"}}, "null"),
        ({"prompt": "{{ x"}, "refused"),
        ({"label": "{{ x }}", "choices": {0: "{{ f() }}"}}, "nothing can be called"),
        ({"metrics": []}, "at least 1"),
        ({"max_new_tokens": 0}, "greater"),
    ],
)
def test_wrong_templates_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        make(**fields)
