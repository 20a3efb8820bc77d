"""Target modules: what is found, what is refused, and that the plan counts what is trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from luthier.config import MethodsConfig
from luthier.config.yaml import read_yaml
from luthier.core.errors import DataError, UsageError
from luthier.core.method_facts import MethodName
from luthier.methods import method_for
from luthier.models.load import LoadedModel
from luthier.planning import read_architecture
from luthier.planning.from_config import tuning_of
from luthier.planning.memory import pass_cost
from luthier.planning.training_setup import TrainingSetup
from luthier.records.evaluation import ModelStamp

SMALL = read_yaml(Path(__file__).parents[2] / "small_models.yaml").values
COMMON = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
# Architectures that the planner does not know.
OTHERS: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 8},
    "mamba2": {"head_dim": 16, "num_heads": 8, "n_groups": 1, "state_size": 8},
    "falcon_mamba": {"state_size": 8},
    "falcon_h1": {
        "mamba_d_ssm": 64,
        "mamba_n_heads": 4,
        "mamba_d_head": 16,
        "mamba_d_state": 16,
        "num_key_value_heads": 2,
    },
    "bamba": {
        "mamba_n_heads": 8,
        "mamba_d_head": 16,
        "mamba_d_state": 16,
        "attn_layer_indices": [1],
        "num_key_value_heads": 2,
    },
    "rwkv": {"attention_hidden_size": 64},
    "bart": {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2},
}
STATE_SPACES = ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "bamba")
ONE_OF_EACH = [name for name in SMALL if " " not in name]


def bare(name: str) -> Any:
    """A model without values, of one of the small configurations."""
    values = SMALL.get(name) or {**COMMON, **OTHERS[name]}
    config = transformers.AutoConfig.for_model(name.split()[0]).__class__(**values)
    auto = transformers.AutoModelForCausalLM
    if config.is_encoder_decoder:
        auto = transformers.AutoModelForSeq2SeqLM
    with torch.device("meta"):
        return auto.from_config(config)


def around(model: Any) -> LoadedModel:
    stamp = ModelStamp(id="small", parameters=1, dtype="float32", architecture=type(model).__name__)
    return LoadedModel(model, None, stamp, torch.device("meta"))


def prepared(name: str, method: MethodName, **settings: Any) -> Any:
    methods = MethodsConfig.model_validate({method: settings})
    return method_for(method, methods).prepare(around(bare(name)))


def trained(model: Any) -> int:
    return sum(
        one.numel()
        for name, one in model.named_parameters()
        if one.requires_grad and ".ranknum." not in name  # made without values, it looks trained
    )


def planned(name: str, method: MethodName, **settings: Any) -> int:
    """What the planner says, from the configuration's values only."""
    config = bare(name).config
    architecture = read_architecture(config.to_dict(), name)
    methods = MethodsConfig.model_validate({method: settings})
    setup = TrainingSetup(tuning_of(method, methods, architecture))
    return pass_cost(architecture, setup).trained_count


def adapted(model: Any) -> set[str]:
    """The names of the modules that have an adapter."""
    return {
        name.removeprefix("base_model.model.")
        for name, module in model.named_modules()
        if isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer)
    }


def linear_ends(name: str) -> list[str]:
    """The ends of the names of some linear layers."""
    model = bare(name)
    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    names = [key for key, one in model.named_modules() if isinstance(one, kinds)]
    output = model.get_output_embeddings()
    inside = [key for key in names if model.get_submodule(key) is not output]
    return list(dict.fromkeys(key.rpartition(".")[2] for key in inside))


@pytest.mark.sample(10)
@pytest.mark.parametrize("method", ["lora", "adalora", "vera"])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_planner_counts_part_of_the_layers(name: str, method: MethodName) -> None:
    ends = linear_ends(name)
    number = r".*\.0\..*"  # the first layer
    # Peft takes the names that experts' matrices had, so that a few plain layers are named here.
    plain = [end for end in ends if end not in ("gate", "gate_proj", "up_proj", "down_proj")]
    ways: list[dict[str, Any]] = [
        {"targets": [plain[0]]},
        {"targets": plain[:2]},
        {"targets": rf"{number}\.({'|'.join(plain)})"},
        {"targets": plain, "exclude_modules": rf"{number}\.{plain[0]}"},
    ]
    if len(plain) > 1:
        ways.append({"targets": plain, "exclude_modules": [plain[0]]})
    for way in ways:
        settings = {"rank": 4, **({"final_rank": 2} if method == "adalora" else {}), **way}
        found = trained(prepared(name, method, **settings))
        assert found > 0
        assert planned(name, method, **settings) == found, way


@pytest.mark.sample(8)
@pytest.mark.parametrize("name", [*ONE_OF_EACH, *OTHERS])
def test_all_linear_is_pefts_but_the_output_layer(name: str) -> None:
    model = bare(name)
    output = model.get_output_embeddings()
    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    expected = {
        key
        for key, one in model.named_modules()
        if isinstance(one, kinds)
        and one is not output
        and not (name in STATE_SPACES and key.endswith((".out_proj", ".conv1d", ".dt_proj")))
    }
    tuned = prepared(name, "vera", rank=4)
    assert adapted(tuned) == expected
    assert trained(prepared(name, "lora")) > 0


@pytest.mark.parametrize("name", STATE_SPACES)
def test_weights_that_kernels_read_have_no_adapter(name: str) -> None:
    for method in ("lora", "rslora", "dora", "adalora", "vera"):
        names = adapted(prepared(name, method, **({"rank": 4} if method == "vera" else {})))
        assert names
        assert not [one for one in names if one.endswith(("out_proj", "conv1d", "dt_proj"))]
    with pytest.raises(UsageError, match="fused kernels") as caught:
        prepared(name, "lora", targets=["out_proj"])
    assert caught.value.where == "methods.lora.targets"
    with pytest.raises(DataError):
        planned(name, "lora")


METHODS: tuple[MethodName, ...] = ("lora", "rslora", "dora", "qlora", "adalora", "vera", "ia3")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("settings", "message", "advice"),
    [
        ({"targets": ["q_proj", "gate_projj"]}, "'gate_projj'", "did you mean 'gate_proj'"),
        ({"targets": ["self_attn.qproj"]}, "'self_attn.qproj'", "self_attn.q_proj"),
        ({"targets": "q_proj"}, "no whole name of a module", r"\[q_proj\]"),
        ({"targets": r"layers\.0\..*_proj"}, "no whole name of a module", "begin it with"),
        ({"targets": ["mlp"]}, "LlamaMLP", "q_proj"),
        ({"targets": ["norm"]}, "LlamaRMSNorm", "q_proj"),
        ({"targets": r".*layers\.0.*"}, "LlamaDecoderLayer", "q_proj"),
        ({"exclude_modules": ["k_prj"]}, "'k_prj'", "k_proj"),
        ({"exclude_modules": ["self_attn"]}, "has no effect", "regular expression"),
        ({"exclude_modules": r".*vision.*"}, "no whole name of a module", "q_proj"),
        ({"targets": ["q_proj"], "exclude_modules": ["q_proj"]}, "not excluded", "q_proj"),
        ({"modules_to_save": ["lm_heads"]}, "'lm_heads'", "lm_head"),
        ({"targets": "(a+)+" * 30 + "b"}, "", ""),
    ],
)
def test_what_matches_nothing_is_refused(
    method: MethodName, settings: dict[str, Any], message: str, advice: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        prepared("llama", method, **settings)
    assert caught.value.where in {f"methods.{method}.{key}" for key in settings}
    assert re.search(advice, caught.value.fix or "")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_every_way_of_naming(method: MethodName) -> None:
    layer = "model.layers.{}.self_attn.{}"
    for targets, exclude, expected in (
        (["q_proj"], (), [(0, "q_proj"), (1, "q_proj")]),
        (["layers.1.self_attn.q_proj"], (), [(1, "q_proj")]),
        (r".*\.1\..*(q|v)_proj", (), [(1, "q_proj"), (1, "v_proj")]),
        (
            ["q_proj", "v_proj"],
            ["0.self_attn.v_proj"],
            [(0, "q_proj"), (1, "q_proj"), (1, "v_proj")],
        ),
        ("all-linear", r".*(mlp.*|[kvo]_proj)", [(0, "q_proj"), (1, "q_proj")]),
    ):
        found = adapted(prepared("llama", method, targets=targets, exclude_modules=exclude))
        assert found == {layer.format(*one) for one in expected}, (targets, exclude)


PARTS = {"mixtral": ["w1", "w2", "w3"], "qwen3_moe": ["gate_proj", "up_proj", "down_proj"]}


@pytest.mark.parametrize("name", PARTS)
def test_experts_in_a_stack(name: str) -> None:
    parts = PARTS[name]
    tuned = prepared(name, "lora", targets=parts)
    assert trained(tuned) == planned(name, "lora", targets=parts)
    stacks = [f"model.layers.{n}.mlp.experts" for n in (0, 1)]
    assert adapted(tuned) == {*stacks, *(f"{one}.base_layer" for one in stacks)}
    with pytest.raises(UsageError, match="fused"):
        prepared(name, "lora", targets=parts[:1])
    for settings in (
        {"targets": rf".*\.0\..*({'|'.join(parts)})"},
        {"targets": [f"layers.0.mlp.experts.{one}" for one in parts]},
        {"targets": ["0.mlp.experts.gate_up_proj", "0.mlp.experts.down_proj"]},
        {"targets": parts, "exclude_modules": ["1.mlp.experts"]},
        {"targets": parts, "layers_to_transform": [0]},
    ):
        assert trained(prepared(name, "lora", **settings)) * 2 == trained(tuned), settings


@pytest.mark.parametrize("method", ["dora", "adalora", "vera"])
@pytest.mark.parametrize("name", PARTS)
def test_stacks_that_a_method_leaves_are_named(name: str, method: MethodName) -> None:
    """All linear layers are adapted, and it is said that the experts are not."""
    methods = MethodsConfig.model_validate({method: {"rank": 4} if method == "vera" else {}})
    chosen = method_for(method, methods)
    model = chosen.prepare(around(bare(name)))
    names = adapted(model)
    assert names
    assert all("self_attn" in one for one in names)
    assert any("experts.gate_up_proj" in note and "of the model" in note for note in chosen.notes)
    if method != "vera":
        assert planned(name, method) == trained(model)
    if method == "dora":
        with pytest.raises(UsageError, match="dora cannot adapt experts") as caught:
            prepared(name, "dora", targets=["q_proj", *PARTS[name]])
        assert "q_proj" in (caught.value.fix or "")


@pytest.mark.parametrize("method", ["lora", "adalora", "vera", "ia3"])
def test_layers_to_transform(method: MethodName) -> None:
    """As peft reads the word: numbers of layers; what is in no layer is left as it is."""
    settings: dict[str, Any] = {"rank": 4} if method == "vera" else {}
    found = prepared("llama", method, layers_to_transform=[1], **settings)
    names = adapted(found)
    assert names
    assert all(one.startswith("model.layers.1.") for one in names)
    assert planned("llama", method, layers_to_transform=[1], **settings) == trained(found)
    with pytest.raises(UsageError, match="no layer 7") as caught:
        prepared("llama", method, layers_to_transform=[0, 7], **settings)
    assert caught.value.where == f"methods.{method}.layers_to_transform"


@pytest.mark.parametrize("method", ["lora", "vera", "ia3"])
def test_what_is_trained_whole_has_no_adapter(method: MethodName) -> None:
    settings: dict[str, Any] = {"rank": 4} if method == "vera" else {}
    model = prepared("llama", method, modules_to_save=["k_proj", "0.mlp"], **settings)
    names = adapted(model)
    assert names
    assert not [one for one in names if one.endswith("k_proj") or ".0.mlp." in one]
    whole = [key for key, one in model.named_parameters() if one.requires_grad and "_save" in key]
    assert len(whole) == 2 + 3


@pytest.mark.parametrize("name", ["mamba", "rwkv", "bamba"])
def test_methods_that_have_nothing_to_hold_on_to(name: str) -> None:
    prefix = method_for("prefix-tuning", MethodsConfig())
    loaded = around(bare(name))
    with pytest.raises(UsageError, match="cache keys and values"):
        prefix.prepare(loaded)
    if name != "bamba":
        with pytest.raises(UsageError, match=r"methods\.ia3\.targets"):
            prepared(name, "ia3")
