from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.data.bundled import BUNDLED
from luthier.data.general import GeneralText, general_texts


def test_bundled_text_says_what_it_is_about(console: Console) -> None:
    rows = list(BUNDLED["python-topics"].rows(console))
    expected = tuple(GeneralText(row.values["text"], row.values["topic"]) for row in rows)
    assert general_texts("python-topics", console) == expected


def test_paragraphs_and_a_text_column(
    tmp_path: Path, write_rows: Callable[..., Path], console: Console
) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo")
    assert general_texts(str(tmp_path / "a.txt"), console) == (("one", ""), ("two", ""))
    rows = write_rows("b.jsonl", [{"text": "three", "topic": "law"}, {"text": "four", "group": 1}])
    assert general_texts(str(rows), console) == (("three", "law"), ("four", "1"))


def test_no_text(write_rows: Callable[..., Path], console: Console) -> None:
    with pytest.raises(DataError, match="no general text"):
        general_texts(str(write_rows("b.jsonl", [{"prompt": "a"}])), console)
