from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.data.bundled import bundled_texts
from luthier.data.general import general_texts


def test_bundled_text(console: Console) -> None:
    assert general_texts("python-topics", console) == bundled_texts("python-topics", console)


def test_paragraphs_and_a_text_column(
    tmp_path: Path, write_rows: Callable[..., Path], console: Console
) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo")
    assert general_texts(str(tmp_path / "a.txt"), console) == ("one", "two")
    rows = write_rows("b.jsonl", [{"text": "three"}, {"text": "four", "id": 1}])
    assert general_texts(str(rows), console) == ("three", "four")


def test_no_text(write_rows: Callable[..., Path], console: Console) -> None:
    with pytest.raises(DataError, match="no text to measure forgetting on"):
        general_texts(str(write_rows("b.jsonl", [{"prompt": "a"}])), console)
