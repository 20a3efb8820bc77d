"""Models of the Hub, from a server on this machine that speaks as the Hub does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from tests.hub import COMMIT, Hub

from luthier.config import LoraConfig, ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.methods import load, save_adapted
from luthier.methods.lora import LoraMethod
from luthier.models.load import open_model
from luthier.models.resolve import resolve_model

QUIET = Console(quiet=True)
NOT_NEEDED = {
    "consolidated.safetensors",
    "model.fp16.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5.index.json",
    "original/config.json",
    "original/model.safetensors",
    "onnx/model.onnx",
    "model-Q4_K_M.gguf",
    "modeling_own.py",
    "training_args.bin",
    "README.md",
}


@pytest.fixture
def hub(loopback: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """An empty Hub, and an empty cache for what comes from it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", loopback.url.removesuffix("/v1"))
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        constants.ENDPOINT + "/{repo_id}/resolve/{revision}/{filename}",
    )
    return Hub(loopback, tmp_path / "hub")


@pytest.fixture
def crowded(hub: Hub, tiny_llama: Path) -> Path:
    """A repository with the same weights in many formats."""
    folder = hub.add("owner/model", tiny_llama)
    for name in NOT_NEEDED:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def resolve(name: str, **settings: Any) -> Any:
    return resolve_model(ModelConfig(id=name, **settings), QUIET)


def test_only_what_is_needed_is_fetched(hub: Hub, crowded: Path) -> None:
    found = resolve("owner/model")
    assert (found.id, found.revision, found.loads_as) == ("owner/model", COMMIT, "owner/model")
    assert hub.fetched == {f.name for f in crowded.iterdir() if f.is_file()} - NOT_NEEDED
    assert {f.name for f in found.path.iterdir()} == hub.fetched


def test_what_was_fetched_needs_no_network(
    hub: Hub, crowded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = resolve("owner/model")
    asked = len(hub.server.seen)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolve("owner/model") == first
    assert len(hub.server.seen) == asked


def test_a_hub_that_fails_is_as_none(hub: Hub, crowded: Path) -> None:
    first = resolve("owner/model")

    def fail(_path: str, _body: Any) -> Any:
        raise hub.server.reply(503)

    hub.server.rule = fail
    assert resolve("owner/model") == first
    with pytest.raises(DataError, match="Hub cannot be reached"):
        resolve("owner/other")


def test_parts_are_those_of_the_index(hub: Hub, tiny_llama: Path, load: Any) -> None:
    folder = hub.add("owner/parts", tiny_llama)
    (folder / "model.safetensors").unlink()
    load_base(load, tiny_llama).save_pretrained(folder, max_shard_size="100KB")
    (folder / "model-00001-of-00009.safetensors").write_text("of an earlier cut")
    found = resolve("owner/parts")
    parts = {f.name for f in found.path.glob("*.safetensors")}
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert parts == set(index["weight_map"].values())
    assert "model-00001-of-00009.safetensors" not in hub.fetched


def load_base(load: Any, folder: Path) -> Any:
    return load(folder).model


def test_pickled_weights_are_fetched_only_where_they_are_allowed(
    hub: Hub, tiny_llama: Path
) -> None:
    folder = hub.add("owner/pickled", tiny_llama)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="no safetensors weights"):
        resolve("owner/pickled")
    assert "pytorch_model.bin" not in hub.fetched
    resolve("owner/pickled", allow_pickle=True)
    assert "pytorch_model.bin" in hub.fetched


def test_code_is_fetched_only_where_it_is_trusted(hub: Hub, crowded: Path) -> None:
    resolve("owner/model")
    assert "modeling_own.py" not in hub.fetched
    resolve("owner/model", trust_remote_code=True)
    assert "modeling_own.py" in hub.fetched


def test_an_unknown_repository(hub: Hub) -> None:
    with pytest.raises(DataError, match="cannot be downloaded"):
        resolve("owner/nowhere")


def test_an_adapter_and_its_base(hub: Hub, tiny_llama: Path, load: Any, tmp_path: Path) -> None:
    """The adapter names its base by the id that others load it by."""
    import dataclasses

    hub.add("owner/base", tiny_llama)
    base = load_handle("owner/base")
    adapted = dataclasses.replace(base, model=LoraMethod(LoraConfig(rank=2)).prepare(base))
    save_adapted(adapted, tmp_path / "adapter")
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "owner/base"
    folder = hub.add("someone/adapter", tmp_path / "adapter")
    (folder / "optimizer.pt").write_text("large")
    hub.server.seen.clear()
    found = resolve("someone/adapter")
    assert found.id == "someone/adapter"
    assert found.adapter is not None
    assert "optimizer.pt" not in hub.fetched
    assert load_handle("someone/adapter").adapter is not None


def load_handle(name: str) -> Any:
    return load(open_model(ModelConfig(id=name, dtype="float32"), QUIET))
