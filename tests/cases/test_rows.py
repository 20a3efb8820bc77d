"""Rows and turns in the forms in which people have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import DataError

Call = Callable[..., Any]
TOOLS = """\
{% if tools %}<|im_start|>system
Tools: {{ tools | tojson }}<|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content or '' }}{% for c in m.tool_calls or [] -%}
<call>{{ c.function | tojson }}</call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@pytest.fixture(scope="module")
def show(call: Call, inputs: Path, tiny_llama: Path) -> Call:
    def data_show(file: str, *more: str, model: Path = tiny_llama) -> Any:
        return call("data", "show", "--model", str(model), "--data", str(inputs / file), *more)

    return data_show


@pytest.fixture(scope="module")
def tokenizer(small_tokenizer: Any) -> Any:
    return small_tokenizer


def counted(outcome: Any) -> int:
    assert outcome.code == 0, outcome.err
    return sum(split["examples"] for split in outcome.document["splits"])


FLAGS = ["weight0", "loss-false", "train-false", "training-false", "sharegpt-weight0"]


@pytest.mark.parametrize("name", [*FLAGS, "row-loss_mask"])
def test_an_answer_with_a_flag_is_never_trained(
    name: str, show: Call, reading: Any, tokenizer: Any
) -> None:
    file = f"turn-flags/{name}.jsonl"
    assert counted(show(file, "--json")) == 24
    rows = reading(file, tokenizer).rows
    assert len(rows) == 24
    for row in rows:
        number = row.example.where.rpartition(":")[2]
        assert "BAD answer" in row.whole
        assert (
            row.trained
            == f"Parcel {int(number) - 1} is in depot {(int(number) - 1) % 5}.<|im_end|>"
        )


@pytest.mark.parametrize("file", ["conversations-role-content", "prompt-completion-messages"])
def test_turns_are_read_wherever_they_stand(
    file: str, show: Call, reading: Any, tokenizer: Any
) -> None:
    path = f"rows/{file}.jsonl"
    assert counted(show(path, "--json")) == 24
    for row in reading(path, tokenizer).rows:
        (user,) = row.example.messages
        assert user.role == "user"
        number = int(user.content.removeprefix("Where is parcel ").removesuffix("?"))
        assert row.trained == f"In depot {number % 5}.<|im_end|>"


@pytest.mark.parametrize(
    ("name", "field", "advice"),
    [
        ("consecutive", "messages[1]", "data.consecutive_turns=merge"),
        ("ends-user", "messages[2]", "data.ending=drop"),
        ("starts-gpt", "conversations[0]", "data.opening=keep"),
    ],
)
def test_turns_out_of_order_are_refused_with_their_place(
    name: str, field: str, advice: str, show: Call
) -> None:
    outcome = show(f"turns/{name}.jsonl")
    assert outcome.code == DataError.exit_code
    assert "(24 places)" in outcome.err
    assert f'{name}.jsonl:1, field "{field}"' in outcome.err
    assert advice in outcome.err


def test_turns_out_of_order_are_mended_on_request(reading: Any, tokenizer: Any) -> None:
    joined = reading("turns/consecutive.jsonl", tokenizer, consecutive_turns="merge").rows
    ended = reading("turns/ends-user.jsonl", tokenizer, ending="drop").rows
    opened = reading("turns/starts-gpt.jsonl", tokenizer, opening="keep").rows
    assert (len(joined), len(ended), len(opened)) == (24, 24, 24)
    for row in (*joined, *ended, *opened):
        assert row.trained.startswith("In depot ")
        assert row.trained.endswith(".<|im_end|>")
    assert all("?\n\nIt was sent on Monday.<|im_end|>" in row.whole for row in joined)
    assert not any("Thanks" in row.whole for row in ended)
    assert all("Hello, how can I help?" in row.whole for row in opened)


def test_an_empty_system_message_is_left_out(show: Call, reading: Any, tokenizer: Any) -> None:
    assert counted(show("turns/empty-system.jsonl", "--json")) == 24
    for row in reading("turns/empty-system.jsonl", tokenizer).rows:
        assert [message.role for message in row.example.messages] == ["user"]


@pytest.mark.parametrize("form", ["openai", "sharegpt"])
def test_tools_go_through_the_template_or_are_refused(
    form: str, show: Call, reading: Any, tiny_with: Any, tokenizer_of: Any
) -> None:
    file = f"tools/{form}.jsonl"
    refused = show(file)
    assert refused.code == DataError.exit_code
    assert "this chat template has no tools: it leaves out the call of 'w'" in refused.err
    folder = tiny_with(TOOLS)
    assert counted(show(file, "--json", model=folder)) == 24
    for row in reading(file, tokenizer_of(folder)).rows:
        assert "Tools: " in row.whole
        assert '<call>{"name": "w"' in row.trained
        assert row.trained.endswith(" degrees.<|im_end|>")
        assert "<|im_start|>tool\n12" in row.whole


def test_prompts_that_differ_in_what_is_asked_all_stay(show: Call) -> None:
    assert counted(show("rows/near-duplicates.jsonl", "--json")) == 24


def test_several_answers_to_one_prompt_stay_in_one_split(
    show: Call, reading: Any, tokenizer: Any
) -> None:
    outcome = show("rows/several-answers.jsonl", "--json")
    assert outcome.document["references"] == 8
    dataset = reading("rows/several-answers.jsonl", tokenizer).dataset
    asked = [
        {one.messages for one in part} for part in (dataset.train, dataset.validation, dataset.test)
    ]
    assert sum(map(len, asked)) == len(set().union(*asked)) == 6
    (tested,) = dataset.test
    assert len(dataset.train) + len(dataset.validation) + len(set(tested.references)) == 48
    assert not dataset.dropped


def test_numbers_as_answers_are_refused_with_a_way_out(show: Call) -> None:
    outcome = show("rows/number-answers.jsonl")
    assert outcome.code == DataError.exit_code
    assert "error: expected a text, found a number" in outcome.err
    assert 'at: number-answers.jsonl:1, field "completion"; ' in outcome.err
    assert "write it in quotes, or convert it with a template" in outcome.err


def test_row_numbers_of_pandas_are_left_aside(show: Call) -> None:
    outcome = show("tables/index.csv", "--json")
    assert counted(outcome) == 24
    assert "ignored, because it looks like pandas' row numbers" in outcome.err


def test_a_table_of_a_spreadsheet_is_read_as_it_is(reading: Any, tokenizer: Any) -> None:
    rows = reading("tables/bom.csv", tokenizer).rows
    assert len(rows) == 24
    for row in rows:
        (user,) = row.example.messages
        assert user.content.startswith('Where, is "parcel" ')
        assert user.content.endswith("?\nNow?")


def test_a_table_with_semicolons_is_read(reading: Any, tokenizer: Any) -> None:
    rows = reading("tables/semicolon.csv", tokenizer).rows
    assert rows
    assert all(row.example.references for row in rows)


@pytest.mark.parametrize(
    ("file", "place", "says"),
    [
        ("nan.csv", 'nan.csv:5, field "completion"', "the text is empty"),
        ("columns.json", "columns.json", 'orient="records", lines=True'),
    ],
)
def test_a_table_of_another_shape_is_refused_with_its_place(
    file: str, place: str, says: str, show: Call
) -> None:
    outcome = show(f"tables/{file}")
    assert outcome.code == DataError.exit_code
    assert place in outcome.err
    assert says in outcome.err


@pytest.mark.parametrize("name", ["messages", "dictionary", "json-text"])
def test_nested_columns_of_parquet(name: str, show: Call, reading: Any, tokenizer: Any) -> None:
    outcome = show(f"tables/{name}.parquet", "--json")
    assert counted(outcome) == 24
    assert ("these columns are not used: 'score', 'made'" in outcome.err) == (name == "messages")
    for row in reading(f"tables/{name}.parquet", tokenizer).rows:
        assert row.trained.startswith("In depot ")
