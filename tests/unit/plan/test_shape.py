"""A model's sizes, read from its files, are those of the model that is built from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from luthier.config import FullConfig, LoraConfig, MethodConfig, MethodsConfig, PromptTuningConfig
from luthier.core.errors import DataError
from luthier.methods import method_for
from luthier.plan import read_shape
from luthier.plan.memory import trained_parameters
from luthier.train.weights import TrainedWeights

MODELS = ("tiny_llama", "tiny_t5")


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_those_of_the_model(
    name: str, load: Any, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    model = load(folder).model
    shape = read_shape(folder)
    assert shape.parameters == model.num_parameters()
    assert shape.vocabulary == model.get_input_embeddings().num_embeddings
    assert shape.hidden == model.get_input_embeddings().embedding_dim == 32
    assert shape.intermediate == 64
    assert shape.layers == (4 if name == "tiny_t5" else 2)


def test_the_bundled_models_shape(bundled_handle: Any, bundled_model: Any) -> None:
    shape = read_shape(bundled_handle.folder.path)
    assert shape.parameters == bundled_model.model.num_parameters() == 134_515_008
    assert (shape.layers, shape.hidden, shape.intermediate) == (30, 576, 1536)
    assert shape.lora_parameters(8) == 2_442_240


@pytest.mark.parametrize("shards", [1, 3])
def test_untied_and_sharded_models_are_counted_whole(shards: int, tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    size = model.num_parameters() * 4
    model.save_pretrained(tmp_path, max_shard_size=size // shards + 4096)
    assert len(list(tmp_path.glob("*.safetensors"))) >= shards
    assert read_shape(tmp_path).parameters == model.num_parameters()


def test_a_model_with_other_names_for_its_sizes(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=300, n_embd=32, n_layer=3, n_head=4, n_positions=64)
    model = GPT2LMHeadModel(config)
    model.save_pretrained(tmp_path)
    shape = read_shape(tmp_path)
    assert shape.parameters == model.num_parameters()
    assert (shape.layers, shape.hidden, shape.intermediate) == (3, 32, 128)


@pytest.mark.parametrize(
    "method",
    [
        FullConfig(),
        LoraConfig(),
        LoraConfig(rank=3),
        LoraConfig(targets=("q", "q_proj", "v", "v_proj")),
        PromptTuningConfig(virtual_tokens=5),
    ],
    ids=["full", "lora", "lora-rank-3", "lora-two-targets", "prompt-tuning"],
)
@pytest.mark.parametrize("name", MODELS)
def test_trained_parameters_are_those_that_the_method_trains(
    name: str, method: MethodConfig, load: Any, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    key = {FullConfig: "full", LoraConfig: "lora", PromptTuningConfig: "prompt-tuning"}
    chosen: Any = key[type(method)]
    methods = MethodsConfig.model_validate({chosen: method.model_dump()})
    torch.manual_seed(0)
    model = method_for(chosen, methods).prepare(load(folder))
    assert trained_parameters(read_shape(folder), method) == TrainedWeights(model).count


def test_an_unknown_method_is_a_defect(tiny_llama: Path) -> None:
    with pytest.raises(TypeError, match="MethodConfig"):
        trained_parameters(read_shape(tiny_llama), MethodConfig(learning_rate=1.0))


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 8, b"\x10" + b"\0" * 7 + b"not json........", b"\2" + b"\0" * 7 + b"[]"],
)
def test_a_damaged_weight_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8, "num_layers": 1}))
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="not a safetensors file") as caught:
        read_shape(tmp_path)
    assert "model.safetensors" in caught.value.where


def test_missing_sizes_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="num_hidden_layers"):
        read_shape(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read_shape(tmp_path / "nowhere")
