"""Hundreds of hostile artifacts through the real commands: nothing runs, all are refused by name.

Here are models and data. Settings of models and runs with absurd values, and YAML, are in
test_readers.py.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.security import hostile_data, hostile_headers, hostile_models, test_readers
from tests.security.hostile_headers import GGUF
from tests.security.hostile_models import MARKER, Artifact

from luthier.cli.main import run as luthier

MODELS = hostile_models.artifacts() | dict(hostile_headers.lying())
DATA = hostile_data.artifacts()
SECONDS = 20
# One of each few in every run of the tests, the others with the long ones.
EVERY = 12


def _params(found: dict[str, Artifact]) -> list[object]:
    return [
        pytest.param(artifact, id=name, marks=pytest.mark.long if number % EVERY else ())
        for number, (name, artifact) in enumerate(found.items())
    ]


@contextlib.contextmanager
def in_limited_time() -> Iterator[None]:
    """What takes longer is an error."""

    def late(*_: object) -> None:
        raise TimeoutError(f"it takes longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def content(folder: Path) -> dict[str, tuple[int, int]]:
    """All that lies below a folder, with its kind and size."""
    found = {}
    for path in folder.rglob("*"):
        state = os.lstat(path)
        size = state.st_size if stat.S_ISREG(state.st_mode) else 0
        found[str(path.relative_to(folder))] = stat.S_IFMT(state.st_mode), size
    return found


def assert_refused(
    code: int, said: str, artifact: Artifact, place: Path, before: dict[str, tuple[int, int]]
) -> None:
    """Nothing has run or been written, and the file is named."""
    assert "Traceback" not in said
    assert not list(place.rglob(MARKER)), "it ran"
    assert content(place) == before
    if artifact.harmless and code == 0:
        return
    assert code in (3, 4), said
    flat = said.replace("\n", "").replace(" ", "")
    assert artifact.file.replace(" ", "") in flat, said
    if artifact in MODELS.values():  # of data the name is enough
        assert str(place / "model") in flat, said


@pytest.mark.parametrize("artifact", _params(MODELS))
def test_a_hostile_model_is_refused(
    artifact: Artifact,
    tiny_llama: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "place" / "model"))
    artifact.spoil(folder)
    monkeypatch.chdir(tmp_path / "place")
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))
    given = folder / GGUF if artifact.file == GGUF else folder
    before = content(folder.parent)
    with in_limited_time():
        code = luthier(
            ["prompt", "--model", str(given), "--input", "hi", "evaluate.max_new_tokens=1"]
        )
    assert_refused(code, capfd.readouterr().err, artifact, folder.parent, before)


@pytest.mark.parametrize("artifact", _params(DATA))
def test_hostile_data_is_refused(
    artifact: Artifact,
    tiny_llama: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "place" / "rows"
    folder.mkdir(parents=True)
    artifact.spoil(folder)
    monkeypatch.chdir(tmp_path / "place")
    given = folder / artifact.file
    before = content(folder.parent)
    with in_limited_time():
        code = luthier(["data", "show", "--model", str(tiny_llama), "--data", str(given)])
    assert_refused(code, capfd.readouterr().err, artifact, folder.parent, before)


def test_there_are_hundreds_of_them() -> None:
    """Each kind of the issue, and those that do harm only if somebody reads them."""
    refused = [one for one in (*MODELS.values(), *DATA.values()) if not one.harmless]
    settings = (*test_readers.MODELS, *test_readers.RUNS, *test_readers.TAGGED)
    assert len(refused) >= 320
    assert len(MODELS) + len(DATA) + len(settings) >= 600
