from __future__ import annotations

import ast
import sys
import time

import pytest

from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.row import Row
from luthier.data.bundled import BUNDLED
from luthier.data.general import general_texts
from luthier.tasks.load import load_template


@pytest.fixture(scope="module")
def functions() -> list[Row]:
    return list(BUNDLED["python-docstrings"].rows(Console(quiet=True)))


@pytest.fixture(scope="module")
def texts() -> tuple[str, ...]:
    return tuple(text for text, _ in general_texts("python-topics", Console(quiet=True)))


def test_there_are_enough_functions_of_enough_modules(functions: list[Row]) -> None:
    assert 2000 < len(functions) < 8000
    modules = {row.values["module"] for row in functions}
    assert len(modules) > 80
    assert modules <= sys.stdlib_module_names
    assert not modules & {"test", "idlelib", "encodings", "site-packages"}


def test_functions_are_code_without_docstrings(functions: list[Row]) -> None:
    for row in functions:
        code, docstring = row.values["code"], row.values["docstring"]
        (function,) = ast.parse(code).body
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        assert ast.get_docstring(function) != docstring
        assert len(code.splitlines()) >= 3
        assert len(code) <= 1200
        assert len(docstring.split()) >= 3
        assert "\n" not in docstring
        assert (code + docstring).isascii()


def test_a_known_function(functions: list[Row]) -> None:
    (row,) = (row for row in functions if row.values["code"].startswith("def quote(s):"))
    assert row.values["module"] == "shlex"
    assert row.values["docstring"] == "Return a shell-escaped version of the string *s*."
    assert row.where.startswith("python-docstrings shlex.py:")


def test_functions_are_met_once(functions: list[Row]) -> None:
    codes = ["".join(row.values["code"].split()) for row in functions]
    assert len(set(codes)) == len(codes)


def test_reading_again_gives_the_same_in_seconds(functions: list[Row]) -> None:
    begin = time.process_time()
    again = list(BUNDLED["python-docstrings"].rows(Console(quiet=True)))
    assert time.process_time() - begin < 10  # three on a common machine
    assert again == functions


def test_topics_are_english_prose(texts: tuple[str, ...]) -> None:
    assert 100 < len(texts) < 1000
    assert len(set(texts)) == len(texts)
    for text in texts:
        assert 100 <= len(text.split()) <= 300
        assert "::=" not in text
        assert "****" not in text
        assert all(not line.startswith(" ") for line in text.splitlines())
    letters = sum(char.isalpha() or char.isspace() for text in texts for char in text)
    assert letters / sum(map(len, texts)) > 0.9


def test_no_paragraph_of_the_topics_stands_twice(texts: tuple[str, ...]) -> None:
    paragraphs = [paragraph for text in texts for paragraph in text.split("\n\n")]
    assert len(set(paragraphs)) == len(paragraphs)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_rows_have_what_their_entry_says(name: str) -> None:
    bundled = BUNDLED[name]
    first = next(iter(bundled.rows(Console(quiet=True))))
    columns = load_template(bundled.template).columns if bundled.template else {"text"}
    assert {*columns, bundled.group} <= first.values.keys()


def test_a_task_is_not_a_text() -> None:
    with pytest.raises(DataError, match="no general text"):
        general_texts("python-docstrings", Console(quiet=True))
