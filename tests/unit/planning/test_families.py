"""A model described from its configuration has the parameters of the model built from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.pytorch_utils import Conv1D

from luthier.config.yaml import read_yaml
from luthier.core.errors import DataError
from luthier.planning.architecture import Architecture
from luthier.planning.families import FAMILIES, read_architecture
from luthier.planning.model_config import find_config

SMALL = read_yaml(Path(__file__).parents[2] / "small_models.yaml").values
LLAMA = {**SMALL["llama"], "model_type": "llama"}
GPT2 = {**SMALL["gpt2"], "model_type": "gpt2"}
MIXTRAL = {**SMALL["mixtral"], "model_type": "mixtral"}


def built(config: Any) -> Any:
    """The model on the meta device: shapes alone."""
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.device("meta"):
        return auto.from_config(config)


def real_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Parameters by name; GPT-2's Conv1D keeps a linear layer's weight the other way round."""
    turned = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, Conv1D)}
    return {
        name: tuple(reversed(p.shape)) if name in turned else tuple(p.shape)
        for name, p in model.named_parameters()
    }


def our_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    return {weight.parameter: weight.shape for weight in architecture.weights()}


@pytest.mark.parametrize("name", SMALL)
def test_parameters_are_those_of_the_built_model(name: str) -> None:
    config = AutoConfig.for_model(name.split()[0], **SMALL[name])
    model = built(config)
    architecture = read_architecture(config.to_dict())
    assert our_shapes(architecture) == real_shapes(model)
    assert architecture.parameters == model.num_parameters()


def test_every_family_is_tested() -> None:
    # gemma3 is the multimodal frame of gemma3_text, and tested below.
    assert {name.split()[0] for name in SMALL} == set(FAMILIES) - {"gemma3"}


@pytest.mark.parametrize("name", SMALL)
def test_what_is_left_out_is_as_in_transformers(name: str) -> None:
    """From the same few values as transformers, without the defaults it would write down."""
    kind, values = name.split()[0], SMALL[name]
    model = built(AutoConfig.for_model(kind, **values))
    assert our_shapes(read_architecture({"model_type": kind, **values})) == real_shapes(model)


def test_a_multimodal_configuration_is_read_for_its_language_model() -> None:
    sizes = {
        key: LLAMA[key]
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size")
    }
    text = {**sizes, "model_type": "gemma3_text", "head_dim": 16}
    config = {"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 8}}
    model = built(AutoConfig.for_model("gemma3_text", **sizes, head_dim=16))
    assert read_architecture(config).parameters == model.num_parameters()


def test_version_1_1_of_t5_has_an_output_layer_of_its_own(tmp_path: Path) -> None:
    """Its published configurations say so; transformers 5 says otherwise and loads it all the same.

    It ties the output layer only if the two tables of the checkpoint are equal.
    """
    values = {**SMALL["t5 gated"], "tie_word_embeddings": False}
    model = T5ForConditionalGeneration(T5Config(**values))
    model.lm_head.weight = torch.nn.Parameter(torch.randn(100, 64))
    model.save_pretrained(tmp_path)
    loaded = T5ForConditionalGeneration.from_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    for config in (saved, {**values, "model_type": "t5"}):
        architecture = read_architecture(config)
        assert not architecture.tied
        assert our_shapes(architecture) == real_shapes(loaded)


def test_null_counts_as_left_out() -> None:
    nulls = {"head_dim": None, "num_key_value_heads": None, "attention_dropout": None}
    architecture = read_architecture({**LLAMA, **nulls})
    (attention,) = architecture.decoder.layers[0].attentions
    assert (attention.head_dim, attention.kv_heads) == (16, 4)


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        # Mixtral of Experts (arXiv 2401.04088), section 1: 13B of 47B active.
        ("mixtral-8x7b", 12.9),
        # Qwen3 technical report (arXiv 2505.09388), table 2, and the models' names.
        ("Qwen/Qwen3-30B-A3B", 3.3),
        ("Qwen/Qwen3-235B-A22B", 22.2),
        ("Qwen/Qwen1.5-MoE-A2.7B", 2.7),
        ("llama-3-8b", 8.0),
    ],
)
def test_active_parameters(model: str, billions: float) -> None:
    architecture = read_architecture(find_config(model)[0])
    assert architecture.active_parameters / 1e9 == pytest.approx(billions, abs=0.06)


def test_parameters_without_embeddings() -> None:
    # Kaplan et al. 2020, table 6: 12 · layers · width², here with biases and norms.
    architecture = read_architecture(find_config("gpt2-xl")[0])
    assert architecture.non_embedding_parameters == pytest.approx(12 * 48 * 1600**2, rel=0.003)


def test_the_key_value_cache_of_grouped_queries() -> None:
    # 2 · 80 layers · 8 heads · 128 numbers · 2 bytes.
    assert read_architecture(find_config("llama-3-70b")[0]).kv_bytes_per_token(2) == 327_680


def test_windows_are_read_from_lists_and_patterns() -> None:
    gemma = {**LLAMA, "model_type": "gemma3_text", "num_hidden_layers": 7, "sliding_window": 9}
    kinds = ["full_attention"] * 6 + ["sliding_attention"]
    assert windows(gemma) == [9, 9, 9, 9, 9, 0, 9]
    assert windows({**gemma, "layer_types": kinds}) == [0] * 6 + [9]
    assert windows({**gemma, "sliding_window": None}) == [0] * 7
    assert windows({**LLAMA, "model_type": "mistral"}) == [4096] * 2
    assert windows({**LLAMA, "model_type": "mistral", "sliding_window": None}) == [0] * 2
    assert windows({**LLAMA, "model_type": "qwen2", "sliding_window": 9}) == [0] * 2


def windows(config: dict[str, Any]) -> list[int]:
    architecture = read_architecture(config)
    return [layer.attentions[0].window for layer in architecture.decoder.layers]


def test_mixtures_may_have_dense_layers() -> None:
    values = {**SMALL["qwen3_moe"], "num_hidden_layers": 4, "decoder_sparse_step": 2}
    config = AutoConfig.for_model("qwen3_moe", **values, mlp_only_layers=[3])
    assert our_shapes(read_architecture(config.to_dict())) == real_shapes(built(config))


@pytest.mark.parametrize(
    ("family", "meant"), [("lama", "llama"), ("qwen2.5", "qwen2"), ("gptneox", "gpt_neox")]
)
def test_an_unknown_architecture_gets_the_one_like_it(family: str, meant: str) -> None:
    with pytest.raises(DataError, match=f"architecture '{family}'") as caught:
        read_architecture({**LLAMA, "model_type": family}, "model/config.json")
    assert f"did you mean '{meant}'?" in caught.value.fix
    assert caught.value.where == 'model/config.json, field "model_type"'


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "model_type"),
        ({"model_type": 3}, "model_type"),
        ({"model_type": ["llama"]}, "model_type"),
        ({**LLAMA, "hidden_size": None}, "hidden_size"),
        ({**LLAMA, "hidden_size": 0}, "hidden_size"),
        ({**LLAMA, "hidden_size": -64}, "hidden_size"),
        ({**LLAMA, "hidden_size": "64"}, "hidden_size"),
        ({**LLAMA, "hidden_size": 64.0}, "hidden_size"),
        ({**LLAMA, "hidden_size": True}, "hidden_size"),
        ({**LLAMA, "hidden_size": 2**80}, "hidden_size"),
        ({**LLAMA, "hidden_size": [64]}, "hidden_size"),
        ({**LLAMA, "num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({**LLAMA, "num_attention_heads": 6, "num_key_value_heads": 6}, "num_attention_heads"),
        ({**LLAMA, "num_key_value_heads": 3}, "num_attention_heads"),
        ({**LLAMA, "attention_bias": "yes"}, "attention_bias"),
        ({**LLAMA, "attention_dropout": 1.5}, "attention_dropout"),
        ({**LLAMA, "attention_dropout": float("nan")}, "attention_dropout"),
        ({**LLAMA, "attention_dropout": "0.1"}, "attention_dropout"),
        ({**LLAMA, "hidden_act": 1}, "hidden_act"),
        ({**LLAMA, "layer_types": "all"}, "layer_types"),
        ({**LLAMA, "layer_types": ["full_attention"]}, "layer_types"),
        ({**LLAMA, "text_config": {"vocab_size": {}}}, "vocab_size"),
        ({**GPT2, "n_head": 7}, "n_head"),
        ({**GPT2, "n_layer": 0}, "n_layer"),
        ({**MIXTRAL, "num_experts_per_tok": 5}, "num_experts_per_tok"),
        ({**MIXTRAL, "num_local_experts": None}, "num_local_experts"),
        ({"model_type": "t5"}, "d_model"),
        ({"model_type": "opt", "hidden_size": 8}, "vocab_size"),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value)[-40:],
)
def test_bad_values_are_named(config: dict[str, Any], field: str) -> None:
    with pytest.raises(DataError, match=field) as caught:
        read_architecture(config, "model/config.json")
    assert caught.value.where == f'model/config.json, field "{field}"'
    assert caught.value.fix
