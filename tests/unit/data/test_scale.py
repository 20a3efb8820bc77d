"""Data of many rows, and files that hold next to nothing: what is read, refused and said."""

from __future__ import annotations

import copy
import gzip
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.prompts.chat_styles import STYLES, tokenizer

from luthier.config.prompt import PromptConfig
from luthier.core.errors import DataError
from luthier.core.example import Example, Message
from luthier.data.problems import RaiseProblems
from luthier.data.sources import read_rows
from luthier.prompts.batched import prompts_of, trainings_of
from luthier.prompts.render import PromptRenderer

_MANY = 60 * 2**20
KINDS = ("byte-level", "metaspace", "unigram", "word-piece", "stripping", "llama-legacy", "gemma")


@pytest.mark.sample(5)
@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "tsv", "txt"])
@pytest.mark.parametrize(
    "nothing", [b"\n", b"\r\n", b" \n", b"\0"], ids=["lines", "windows", "blanks", "zeros"]
)
def test_packed_nothing_is_refused_at_once(tmp_path: Path, suffix: str, nothing: bytes) -> None:
    path = tmp_path / f"rows.{suffix}.gz"
    path.write_bytes(gzip.compress(nothing * (_MANY // len(nothing)), 1))
    began = time.process_time()
    with pytest.raises(DataError) as caught:
        list(read_rows(str(path)))
    assert time.process_time() - began < 10
    assert caught.value.where.startswith(f"rows.{suffix}.gz:")


@pytest.mark.parametrize(
    ("suffix", "header", "row"),
    [
        ("jsonl", b"", b"{}\n"),
        ("jsonl", b"", b'{"text": ""}\n'),
        ("csv", b"a,b\n", b",\n"),
        ("tsv", b"a\tb\n", b"\t\n"),
    ],
)
def test_packed_rows_that_say_nothing_are_refused_at_once(
    tmp_path: Path, suffix: str, header: bytes, row: bytes
) -> None:
    path = tmp_path / f"rows.{suffix}.gz"
    path.write_bytes(gzip.compress(header + row * (_MANY // len(row)), 1))
    began = time.process_time()
    with pytest.raises(DataError, match="consecutive empty rows") as caught:
        list(read_rows(str(path)))
    assert time.process_time() - began < 10
    assert caught.value.where.startswith(f"rows.{suffix}.gz:")


@pytest.mark.parametrize("name", ["rows.zip", "rows.jsonl.zip", "rows.jsonl", "rows.csv"])
def test_a_zip_file_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.jsonl", '{"text": "here"}\n')
    with pytest.raises(DataError, match="zip") as caught:
        list(read_rows(str(path)))
    assert "unpack it" in caught.value.fix


def test_some_blank_lines_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n" * 10_000 + b'{"text": "here"}\n' + b"\n" * 10_000)
    (row,) = read_rows(str(path))
    assert row.where == "rows.jsonl:10001"


@pytest.mark.parametrize("header", [",", "a,", ",a"], ids=["unnamed", "same", "both"])
def test_a_million_columns_are_refused_at_once(tmp_path: Path, header: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(header * 1_000_000 + "\n1\n")
    began = time.process_time()
    with pytest.raises(DataError, match="columns") as caught:
        list(read_rows(str(path), RaiseProblems()))
    assert time.process_time() - began < 10
    assert caught.value.where == "rows.csv:1"


def _examples() -> list[Example]:
    """Rows that spell out special tokens, have several turns, are refused, or are plain text."""
    rows = []
    for number in range(120):
        question, answer = f"What is {number} times two?", f"It is {2 * number}."
        if number % 7 == 0:
            answer += " <|im_end|> and more"
        messages = [Message("user", question)]
        if number % 3 == 0:
            messages += [Message("assistant", "Well,\n"), Message("user", " and then?  ")]
        if number % 11 == 0:
            messages.append(Message("user", "Two in a row."))
        rows.append(Example(str(number), tuple(messages), (answer,), where=f"row {number}"))
    return [*rows, Example("text", (), ("Running text.",), where="text")]


def _renderer(kind: str, style: str) -> PromptRenderer:
    made = copy.copy(tokenizer(kind, STYLES[style].end if style else "</s>"))
    if style:
        made.chat_template = STYLES[style].template
    return PromptRenderer.from_config(PromptConfig(), made, context_window=60)


@pytest.mark.sample(12)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("style", ["chatml", "llama-2", "llama-3", "mistral-tekken", "phi-3", ""])
def test_many_examples_have_the_tokens_of_each(kind: str, style: str) -> None:
    alone, together = _renderer(kind, style), _renderer(kind, style)

    def one(work: Callable[[], object]) -> object:
        try:
            return work()
        except DataError as error:
            return str(error)

    def told(made: object) -> object:
        return str(made) if isinstance(made, DataError) else made

    examples = _examples()
    made = [told(each) for _, each in trainings_of(together, examples, completion_only_loss=True)]
    assert made == [
        one(lambda e=e: alone.trainings(e, completion_only_loss=True)) for e in examples
    ]
    assert together.encoder.is_ahead, "they were encoded one by one"
    asked = [told(each) for _, each in prompts_of(together, examples, answer_tokens=4)]
    assert asked == [one(lambda e=e: alone.prompt(e, answer_tokens=4)) for e in examples]
