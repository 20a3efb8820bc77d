"""Files in other encodings than UTF-8: read, and said so where it was a guess."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.bytestream import read_text_lines
from luthier.data.encodings import LineDecoder

TEXT = "name,text\nMüller,“Grüße” – 5 €\nçà,naïve\n"


def lines(path: Path) -> tuple[list[str], list[str]]:
    notes: list[str] = []
    return [line.text for line in read_text_lines(path, path.name, notes.append)], notes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_mark_is_no_guess(tmp_path: Path, encoding: str, packed: bool) -> None:
    path = tmp_path / ("a.csv.gz" if packed else "a.csv")
    content = TEXT.encode(encoding)
    path.write_bytes(gzip.compress(content) if packed else content)
    assert lines(path) == (TEXT.splitlines(keepends=True), [])


@pytest.mark.parametrize("mark", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_both_orders_of_bytes(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("\ufeff".encode(mark) + TEXT.encode(mark))
    assert "".join(lines(path)[0]) == TEXT


def test_a_long_file_in_utf16(tmp_path: Path) -> None:
    """Characters of four bytes lie across the pieces that are read."""
    text = "".join(f"{n} 💸 ü\n" for n in range(40_000))
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode("utf-16"))
    assert "".join(lines(path)[0]) == text


def test_western_text_is_read_and_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(("plain,ascii\n" + TEXT).encode("cp1252"))
    found, notes = lines(path)
    assert "".join(found) == "plain,ascii\n" + TEXT
    (note,) = notes
    assert "a.csv is not UTF-8 and is read as Windows-1252" in note
    assert "first on line 3: 'Müller'" in note


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(codec="latin1", exclude_categories=["Cc"]), max_size=12)))
def test_western_lines_are_never_changed(texts: list[str]) -> None:
    """Lines are refused, or are what they were."""
    from luthier.core.errors import DataError

    decoder = LineDecoder("a.csv", lambda _: None)
    try:
        found = [decoder.text(f"{t}\n".encode("cp1252"), n) for n, t in enumerate(texts, 1)]
    except (DataError, UnicodeEncodeError):
        return
    utf8 = all(_is_utf8(text) for text in texts)
    assert found == [f"{text}\n" for text in texts] or utf8


def _is_utf8(text: str) -> bool:
    try:
        text.encode("cp1252").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
