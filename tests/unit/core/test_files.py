"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from luthier.core.disk import storing, unwritable
from luthier.core.errors import DataError, ResourceError
from luthier.core.files import (
    append_line,
    file_sha256,
    folder_bytes,
    read_json,
    read_lines,
    write_atomically,
    write_json,
    write_lines,
)


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, "héllo\n")
    assert path.read_bytes() == "héllo\n".encode()
    assert [child.name for child in path.parent.iterdir()] == ["b.txt"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, files_limited_to: Any) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "old")
    with files_limited_to(100), pytest.raises(ResourceError) as caught:
        write_atomically(path, "new" * 1000)
    assert path.read_text() == "old"
    assert caught.value.where == str(path)


def test_a_full_disk_says_how_much_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "old")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=r"full: 3 bytes are needed, [\d,]+ bytes are free"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_other_failures_are_described(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="cannot write") as caught:
        write_atomically(tmp_path / "file" / "a.txt", "x")
    assert "--output" in caught.value.fix
    with pytest.raises(ResourceError):
        append_line(tmp_path / "missing" / "a.jsonl", 1)
    error = unwritable(tmp_path, PermissionError(errno.EACCES, "Permission denied"))
    assert error.problem == "cannot write: Permission denied"
    text = "I/O error: No space left on device (os error 28)"
    assert unwritable(tmp_path, RuntimeError(text)).problem.startswith("the disk is full")
    assert unwritable(tmp_path, RuntimeError("odd")).problem == "cannot write: odd"


def test_json_comes_back(tmp_path: Path) -> None:
    value = {"text": "é\u2028", "list": [1, 0.1, None, True]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a": 1} x'])
def test_what_is_not_json_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match="invalid JSON") as caught:
        read_json(path)
    assert caught.value.where == str(path)


def test_lines_come_back_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert list(read_lines(path)) == []
    write_lines(path, [{"a": 1}, "é\u2028\n"])
    append_line(path, [3])
    assert list(read_lines(path)) == [{"a": 1}, "é\u2028\n", [3]]
    assert len(path.read_bytes().splitlines()) == 3


@pytest.mark.parametrize("torn", [b'{"b": ', b'"caf\xc3', b"\x00\x00"])
def test_a_torn_line_ends_the_reading(torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' + torn)
    assert list(read_lines(path)) == [{"a": 1}]


def test_sizes_and_digests(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"12345")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.bin").write_bytes(b"123")
    assert folder_bytes(tmp_path) == 8
    assert folder_bytes(tmp_path, (".safetensors",)) == 5
    digest = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"
    assert file_sha256(tmp_path / "a.safetensors") == digest


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "step-000001").write_text("")
    with pytest.raises(ResourceError) as error, storing(tmp_path):
        list((tmp_path / "step-000001").iterdir())
    assert "step-000001" in error.value.problem
    assert "move the file away" in error.value.fix
