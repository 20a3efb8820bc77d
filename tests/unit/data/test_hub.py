from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from luthier.core.errors import DataError
from luthier.data.hub import open_hub

datasets = pytest.importorskip("datasets")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set in the layout of the Hub; ``datasets`` takes a folder for a repository."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    return folder


def test_rows_by_split(repository: Path, write_rows: Callable[..., Path]) -> None:
    write_rows("owner/name/train.jsonl", [{"x": "a"}, {"x": "b"}])
    write_rows("owner/name/test.jsonl", [{"x": "c"}])
    parts = open_hub("owner/name", None)
    rows = [row for split in ("train", "test") for row in parts[split]()]
    assert [row.values for row in rows] == [{"x": "a"}, {"x": "b"}, {"x": "c"}]
    assert [row.where for row in rows][1:] == ["owner/name/train row 2", "owner/name/test row 1"]


def test_an_unknown_subset(repository: Path, write_rows: Callable[..., Path]) -> None:
    write_rows("owner/name/train.jsonl", [{"x": "a"}])
    with pytest.raises(DataError, match="nonsense") as caught:
        open_hub("owner/name", "nonsense")
    assert "data.subset" in caught.value.fix


class _Trap:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("sprung"),))


def test_pickles_are_not_opened(repository: Path) -> None:
    (repository / "train.pkl").write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(DataError):
        open_hub("owner/name", None)
    assert not Path("sprung").exists()


def test_images_are_refused(repository: Path) -> None:
    (repository / "train").mkdir()
    (repository / "train" / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="imagefolder"):
        open_hub("owner/name", None)


def test_what_was_prepared_is_read_offline(
    repository: Path, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    write_rows("owner/name/train.jsonl", [{"x": "a"}])
    open_hub("owner/name", None)
    # Of the Hub, datasets names the folder after the owner too.
    (tmp_path / "cache" / "name").rename(tmp_path / "cache" / "owner___name")
    shutil.rmtree(repository)
    assert [row.values for row in open_hub("owner/name", None)["train"]()] == [{"x": "a"}]


def test_what_was_fetched_is_read_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_rows: Callable[..., Path]
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    fetched = tmp_path / "hub" / "datasets--owner--name"
    (fetched / "refs").mkdir(parents=True)
    (fetched / "refs" / "main").write_text("c0ffee", encoding="utf-8")
    (fetched / "snapshots" / "c0ffee").mkdir(parents=True)
    write_rows("hub/datasets--owner--name/snapshots/c0ffee/test.jsonl", [{"x": "a"}])
    assert [row.values for row in open_hub("owner/name", None)["test"]()] == [{"x": "a"}]


def test_offline_says_what_to_run(tmp_path: Path) -> None:
    code = (
        "from luthier.core.errors import DataError\n"
        "from luthier.data.hub import open_hub\n"
        "try:\n    open_hub('owner/nowhere', None)\n"
        "except DataError as error:\n    print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "hf download --repo-type dataset owner/nowhere" in run.stdout


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_the_switches_are_as_before(monkeypatch: pytest.MonkeyPatch, nowhere: str) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    with pytest.raises(DataError, match="the Hub cannot be reached"):
        open_hub("owner/nowhere", None)
    assert not constants.HF_HUB_OFFLINE
    assert not datasets.config.HF_HUB_OFFLINE


def test_nothing_is_tried_again_without_a_network(nowhere: str, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": nowhere, "HF_HUB_OFFLINE": "0"}
    called = subprocess.run(
        [sys.executable, "-m", "luthier", "evaluate", "--tasks", "glue/rte"],
        env=environment | {"HF_HOME": str(tmp_path), "LUTHIER_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert called.returncode
    assert "the Hub cannot be reached" in called.stderr
    assert "Retry" not in called.stderr
