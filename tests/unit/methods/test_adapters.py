"""Bottleneck adapters: where they stand, their files, and files that are not theirs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from luthier.config import ModelConfig
from luthier.config.methods import AdaptersConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.methods import load_adapted, save_adapted
from luthier.methods.adapted import is_adapter
from luthier.methods.adapters import AdaptersMethod


def with_adapters(loaded: Any, **settings: Any) -> Any:
    model = AdaptersMethod(AdaptersConfig(bottleneck=4, **settings)).prepare(loaded)
    return dataclasses.replace(loaded, model=model)


def trained(loaded: Any) -> dict[str, torch.Tensor]:
    return {n: p for n, p in loaded.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("model", "attention", "mlp"),
    [
        ("tiny_llama", "self_attn.o_proj", "mlp.down_proj"),
        ("tiny_gpt2", "attn.c_proj", "mlp.c_proj"),
        ("tiny_t5", "Attention.o", "DenseReluDense.wo"),
    ],
)
def test_where_adapters_stand(
    model: str, attention: str, mlp: str, load: Any, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(model)
    places = {
        placement: {
            name.partition(".bottleneck_adapter.")[0]
            for name in trained(with_adapters(load(folder), placement=placement))
        }
        for placement in ("houlsby", "pfeiffer")
    }
    assert places["pfeiffer"] < places["houlsby"]
    assert all(name.endswith(mlp) for name in places["pfeiffer"])
    rest = places["houlsby"] - places["pfeiffer"]
    assert all(name.endswith(attention) for name in rest)
    # One after each attention; T5's decoder has two of them in a layer.
    assert len(rest) == len(places["pfeiffer"]) + 2 * (model == "tiny_t5")


def test_a_model_without_known_sub_layers(load: Any, tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    for layer in loaded.model.model.layers:
        layer.self_attn.project, layer.mlp.project = layer.self_attn.o_proj, layer.mlp.down_proj
        del layer.self_attn.o_proj, layer.mlp.down_proj
        # The same computation under other names.
        layer.self_attn.__dict__["o_proj"] = layer.self_attn.project
        layer.mlp.__dict__["down_proj"] = layer.mlp.project
    with pytest.raises(UsageError, match="no sub-layer"):
        AdaptersMethod(AdaptersConfig()).prepare(loaded)


def load_on(base: Path, folder: Path, dtype: Any = "float32") -> Any:
    return load_adapted(folder, ModelConfig(id=str(base), dtype=dtype), Console(quiet=True))


@pytest.fixture(params=["houlsby", "pfeiffer"])
def saved(load: Any, tiny_llama: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """Adapters with numbers in them, and where they are saved."""
    loaded = with_adapters(load(tiny_llama), placement=request.param)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trained(loaded).values():
            parameter.normal_()
    save_adapted(loaded, tmp_path / "model")
    return loaded, tmp_path / "model"


def test_what_is_saved_is_loaded(saved: Any, tiny_llama: Path) -> None:
    loaded, folder = saved
    again = load_on(tiny_llama, folder)
    assert is_adapter(again)
    expected, found = trained(loaded), trained(again)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert (folder / "adapter_model.safetensors").stat().st_size < 20_000
    assert "model.safetensors" not in {path.name for path in folder.iterdir()}


def test_beside_short_weights_adapters_stay_long(saved: Any, tiny_llama: Path) -> None:
    again = load_on(tiny_llama, saved[1], "bfloat16")
    assert {p.dtype for p in trained(again).values()} == {torch.float32}
    with torch.no_grad():
        assert again.model(input_ids=torch.tensor([[3, 4]])).logits.dtype == torch.bfloat16


@pytest.mark.parametrize(
    "change",
    [
        {"bottleneck": 10**12},
        {"bottleneck": -1},
        {"bottleneck": 5},
        {"placement": "everywhere"},
        {"adapter_type": "other"},
        {"extra": 1},
    ],
)
def test_a_hostile_description(change: dict[str, Any], saved: Any, tiny_llama: Path) -> None:
    config = saved[1] / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(DataError):
        load_on(tiny_llama, saved[1])


def test_a_description_that_is_a_list(saved: Any, tiny_llama: Path) -> None:
    (saved[1] / "adapter_config.json").write_text('["adapter_type"]')
    with pytest.raises(DataError, match="not a JSON object"):
        load_on(tiny_llama, saved[1])


def test_damaged_weights(saved: Any, tiny_llama: Path, tiny_t5: Path) -> None:
    weights = saved[1] / "adapter_model.safetensors"
    with pytest.raises(DataError, match="does not fit tiny-t5"):
        load_on(tiny_t5, saved[1])
    tensors = load_file(weights)
    missing = tensors.popitem()[0]
    save_file(tensors, weights)
    with pytest.raises(DataError, match=f"{missing} is missing"):
        load_on(tiny_llama, saved[1])
    weights.write_bytes(b"\0" * 4)
    with pytest.raises(DataError, match="this file of weights is damaged"):
        load_on(tiny_llama, saved[1])
