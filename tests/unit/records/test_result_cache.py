from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import ResourceError
from luthier.records.result_cache import ResultCache


def test_what_is_added_is_there_when_the_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "evaluation" / "log.jsonl"
    log = ResultCache(path)
    assert log.get("a") is None
    log.add({"a": {"text": "ä\nb"}, "b": [1]})
    log.add({"a": 2})
    for each in (log, ResultCache(path)):
        assert (each.get("a"), each.get("b")) == (2, [1])
    assert len(path.read_text().splitlines()) == 3  # nothing is ever written over


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_torn_addition_is_left_out_and_swallows_nothing(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log.jsonl"
    ResultCache(path).add({"a": 1})
    ResultCache(path).add({"b": "é"})
    path.write_bytes(path.read_bytes()[:-cut])
    log = ResultCache(path)
    assert log.get("a") == 1
    assert log.get("b") in ((None,) if cut > 1 else ("é",))
    log.add({"c": 3})
    again = ResultCache(path)
    assert (again.get("a"), again.get("c")) == (1, 3)


def test_lines_that_are_no_entries_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"key": "a", "value": 1}\n[1]\n{"key": "b"}\n{"key": "c", "value": 2}\n')
    log = ResultCache(path)
    assert (log.get("a"), log.get("b"), log.get("c")) == (1, None, 2)


def test_a_file_that_cannot_grow_is_an_error_and_keeps_what_it_has(
    tmp_path: Path, files_limited_to: Any
) -> None:
    log = ResultCache(tmp_path / "log.jsonl")
    log.add({"a": 1})
    with files_limited_to(100), pytest.raises(ResourceError):
        log.add({"b": "x" * 1000})
    assert ResultCache(tmp_path / "log.jsonl").get("a") == 1
    assert log.get("b") is None
