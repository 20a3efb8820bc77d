"""Loading, precision and devices."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from luthier.config import ModelConfig
from luthier.core.cache import cache_folder
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.folders import new_folder
from luthier.models import gguf
from luthier.models.device import PeakMemory, default_device, free_memory, resolve_dtype
from luthier.models.load import open_model

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "encoder_decoder", "chat"), [("tiny_llama", False, True), ("tiny_t5", True, False)]
)
def test_a_handle_describes_the_model_without_its_weights(
    name: str, encoder_decoder: bool, chat: bool, load: Any, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    handle = open_model(ModelConfig(id=str(folder)), Console(quiet=True))
    loaded = load(folder)
    assert handle.is_encoder_decoder is loaded.is_encoder_decoder is encoder_decoder
    assert handle.has_chat_template is chat
    assert handle.context_window == loaded.context_window
    assert handle.tokenizer.pad_token_id is not None


def test_context_windows(load: Any, tiny_llama: Any, tiny_t5: Any, bundled_handle: Any) -> None:
    assert load(tiny_llama).context_window == 1024
    assert bundled_handle.context_window == 8192
    assert load(tiny_t5).context_window > 10_000  # relative positions set no limit


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_stamp_says_what_was_loaded(dtype: str, load: Any, tiny_llama: Any) -> None:
    loaded = load(tiny_llama, dtype)
    assert {str(p.dtype) for p in loaded.model.parameters()} == {f"torch.{dtype}"}
    assert loaded.stamp.dtype == dtype
    assert loaded.stamp.parameters == sum(p.numel() for p in loaded.model.parameters())
    assert loaded.stamp.architecture == "LlamaForCausalLM"
    assert loaded.stamp.revision.startswith("sha256:")
    assert not loaded.model.training


def test_a_named_precision_is_taken_as_it_is() -> None:
    assert resolve_dtype("float32", CPU) is torch.float32
    assert resolve_dtype("bfloat16", CPU) is torch.bfloat16
    assert resolve_dtype("auto", CPU) in (torch.float32, torch.bfloat16)


def test_peak_memory_sees_what_was_given_back() -> None:
    peak = PeakMemory(CPU)
    before = peak.read()
    block = torch.ones(2**25)  # 128 MiB
    del block
    assert peak.read() - before > 100 * 2**20
    assert free_memory(default_device()) > 0


def test_weights_of_which_a_part_is_missing_are_refused(tiny_llama: Path, tmp_path: Path) -> None:
    """Transformers would fill the rest with random numbers."""
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "layers.1." not in name}
    kept |= {f"wrong.{name}": value for name, value in weights.items() if "layers.1." in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match="9 tensors of model are not in its files") as caught:
        open_model(ModelConfig(id=str(folder)), Console(quiet=True))
    assert "unexpected ones are wrong.model.layers.1." in caught.value.problem


def test_settings_of_the_wrong_type_are_a_damaged_model(tiny_llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_size": "32"}))
    with pytest.raises(DataError, match="cannot be loaded"):
        open_model(ModelConfig(id=str(folder)), Console(quiet=True))


def test_two_at_once_convert_a_file_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second finds what the first made; what was left by one that was killed is in no way."""
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path))
    converted = []

    def convert(_source: Path, target: Path) -> None:
        converted.append(target)
        with new_folder(target) as partial:
            for name in ("config.json", "tokenizer.json"):
                (partial / name).write_text(name)
                time.sleep(0.05)
            save_file({"weight": torch.zeros(8)}, partial / "model.safetensors")

    monkeypatch.setattr(gguf, "_convert", convert)
    left = cache_folder() / "models" / "made"
    left.mkdir(parents=True)
    left.with_name(f".made.{'0123abcd' * 2}.partial").mkdir()
    (left / "tokenizer.json").touch()

    def convert_at_once() -> None:
        with ThreadPoolExecutor(2) as pool:
            asked = [
                pool.submit(gguf.convert_gguf, tmp_path / "a.gguf", "made", Console(quiet=True))
                for _ in range(2)
            ]
            assert {one.result() for one in asked} == {left}
        assert [path.name for path in left.parent.iterdir()] == ["made"]

    convert_at_once()
    assert len(converted) == 1
    weights = left / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4])  # a disk that lost its end
    convert_at_once()
    assert len(converted) == 2
    assert weights.read_bytes() == whole
