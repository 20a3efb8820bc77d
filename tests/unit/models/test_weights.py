"""The files of a model among all that published repositories put beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.models.load import LoadedModel, load_model, open_model
from luthier.models.weights import Entry, find_entry

QUIET = Console(quiet=True)


def opened(folder: Path, **settings: Any) -> LoadedModel:
    config = ModelConfig(id=str(folder), dtype="float32", **settings)
    return load_model(open_model(config, QUIET))


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama."""
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


@pytest.fixture
def sharded(folder: Path, load: Any, tiny_llama: Path) -> Path:
    """The same in several parts."""
    (folder / "model.safetensors").unlink()
    load(tiny_llama).model.save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    return folder


def _index(folder: Path, name: str, shard: str) -> None:
    """An index of another format, whose files nobody has fetched."""
    content = {"metadata": {"total_size": 1}, "weight_map": {"lm_head.weight": shard}}
    (folder / name).write_text(json.dumps(content))


def _pickled(folder: Path) -> None:
    _index(folder, "pytorch_model.bin.index.json", "pytorch_model-00002-of-00002.bin")


def _tensorflow(folder: Path) -> None:
    _index(folder, "tf_model.h5.index.json", "tf_model-00001-of-00002.h5")


def _flax(folder: Path) -> None:
    _index(folder, "flax_model.msgpack.index.json", "flax_model-00001-of-00002.msgpack")


def _consolidated(folder: Path) -> None:
    """Mistral's own format, with other names of tensors, and its index."""
    save_file({"tok_embeddings.weight": torch.zeros(2, 2)}, folder / "consolidated.safetensors")
    _index(folder, "consolidated.safetensors.index.json", "consolidated-00001-of-00002.safetensors")


def _original(folder: Path) -> None:
    """Meta's own format, in a folder beside."""
    (folder / "original").mkdir()
    (folder / "original" / "consolidated.00.pth").write_bytes(b"not opened")
    (folder / "original" / "params.json").write_text("{}")


def _onnx(folder: Path) -> None:
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"not opened")


def _quantised_copy(folder: Path) -> None:
    (folder / "model-Q4_K_M.gguf").write_bytes(b"not opened")


def _half(folder: Path) -> None:
    (folder / "model.fp16.safetensors").write_bytes(b"not opened")


def _optimizer(folder: Path) -> None:
    """A checkpoint of a trainer."""
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        (folder / name).write_bytes(b"not opened")
    (folder / "trainer_state.json").write_text("{}")


BESIDE: list[Callable[[Path], None]] = [
    _pickled,
    _tensorflow,
    _flax,
    _consolidated,
    _original,
    _onnx,
    _quantised_copy,
    _half,
    _optimizer,
]


@pytest.mark.parametrize("add", BESIDE, ids=lambda add: add.__name__.strip("_"))
@pytest.mark.parametrize("kind", ["folder", "sharded"])
def test_complete_weights_load_whatever_lies_beside(
    kind: str, add: Callable[[Path], None], request: pytest.FixtureRequest, tiny_llama: Path
) -> None:
    folder = request.getfixturevalue(kind)
    before = open_model(ModelConfig(id=str(folder)), QUIET).revision
    add(folder)
    found = opened(folder)
    assert found.stamp.revision == before  # what is not loaded is no part of the model
    expected = opened(tiny_llama).model.state_dict()
    for name, value in found.model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_all_of_it_at_once(sharded: Path) -> None:
    for add in BESIDE:
        add(sharded)
    assert opened(sharded).stamp.parameters > 0


def test_an_index_of_parts_that_became_one_file(folder: Path) -> None:
    _index(folder, "model.safetensors.index.json", "model-00001-of-00002.safetensors")
    assert opened(folder).stamp.parameters > 0


def test_a_missing_part_is_named(sharded: Path) -> None:
    missing = sorted(sharded.glob("model-*.safetensors"))[1]
    missing.unlink()
    _pickled(sharded)
    with pytest.raises(DataError, match=f"incomplete: {missing.name} is missing"):
        opened(sharded)


def test_several_missing_parts_are_counted(sharded: Path) -> None:
    parts = sorted(sharded.glob("model-*.safetensors"))
    for part in parts[1:]:
        part.unlink()
    more = f", and {len(parts) - 2} more" if len(parts) > 2 else ""
    with pytest.raises(DataError, match=f"{parts[1].name} is missing{more}"):
        opened(sharded)


def test_parts_without_their_index(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").unlink()
    with pytest.raises(DataError, match=r"is missing: model\.safetensors\.index\.json"):
        opened(sharded)


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "model.safetensors"])
def test_a_pointer_in_place_of_a_file(name: str, folder: Path) -> None:
    whole = folder / "model.safetensors"
    whole.unlink()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 99\n"
    (folder / name).write_text(pointer)
    if name != whole.name:
        _index(folder, "model.safetensors.index.json", name)
    with pytest.raises(DataError, match="Git LFS pointer") as caught:
        opened(folder)
    assert "git lfs pull" in caught.value.fix
    assert caught.value.where == str(folder / name)


def test_an_empty_file(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match="this file is empty"):
        opened(folder)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ("consolidated.safetensors", "a format that transformers does not"),
        ("model-Q4_K_M.gguf", "GGUF file"),
        ("pytorch_model.bin", "no safetensors weights"),
        ("something.safetensors", "no safetensors weights"),
    ],
)
def test_only_weights_of_another_format(left: str, said: str, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / left)
    with pytest.raises(DataError, match=said):
        opened(folder)


def test_tied_weights_are_stored_once(folder: Path) -> None:
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    model = opened(folder).model
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_untied_weights_of_which_one_is_missing(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"tie_word_embeddings": False}
    path.write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"lm_head\.weight"):
        opened(folder)


@pytest.mark.parametrize("variant", ["fp16", "bf16", "non_ema"])
def test_weights_that_are_there_as_a_variant_only(
    variant: str, folder: Path, tiny_llama: Path
) -> None:
    (folder / "model.safetensors").rename(folder / f"model.{variant}.safetensors")
    found = opened(folder).model.state_dict()
    expected = opened(tiny_llama).model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_a_variant_in_parts(folder: Path) -> None:
    model = opened(folder).model
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, variant="fp16", max_shard_size="100KB")
    assert (folder / "model.safetensors.index.fp16.json").is_file()
    assert opened(folder).stamp.parameters > 0
    next(folder.glob("model.fp16-*.safetensors")).unlink()
    with pytest.raises(DataError, match=r"model\.fp16-\d+-of-\d+\.safetensors is missing"):
        opened(folder)


def test_two_variants_and_no_usual_one(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "model.bf16.safetensors")
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    with pytest.raises(DataError, match="several variants"):
        opened(folder)


def test_pickled_weights_come_last_even_where_they_are_allowed() -> None:
    names = {"pytorch_model.bin", "pytorch_model.bin.index.json", "model.safetensors.index.json"}
    assert find_entry(names, allow_pickle=True) == Entry("model.safetensors.index.json")
    assert find_entry(names - {"model.safetensors.index.json"}, allow_pickle=True) == Entry(
        "pytorch_model.bin"
    )
    assert find_entry({"pytorch_model.bin"}, allow_pickle=False) is None


def test_pickled_parts_are_complete_too(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    _pickled(folder)
    with pytest.raises(DataError, match=r"pytorch_model-00002-of-00002\.bin is missing"):
        opened(folder, allow_pickle=True)


def test_allowed_pickled_weights_load(folder: Path, tiny_llama: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    found = opened(folder, allow_pickle=True).model.state_dict()
    expected = opened(tiny_llama).model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


@pytest.mark.parametrize("name", ["adapter_model.bin", "../model.safetensors", 3])
def test_settings_that_name_other_weights(name: Any, folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"transformers_weights": name}))
    with pytest.raises(DataError, match="not safetensors of this folder"):
        opened(folder)


def test_settings_that_name_the_weights(folder: Path) -> None:
    path = folder / "config.json"
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    named = {"transformers_weights": "weights.safetensors"}
    path.write_text(json.dumps(json.loads(path.read_text()) | named))
    assert opened(folder).stamp.parameters > 0
