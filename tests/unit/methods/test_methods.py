"""What each method trains, and where it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.config import LoraConfig, MethodsConfig, ModelConfig, PromptTuningConfig
from luthier.config.methods import (
    LastLayersConfig,
    PrefixTuningConfig,
    RsloraConfig,
    SelectiveConfig,
)
from luthier.core.console import Console
from luthier.core.errors import DataError, ResourceError, UsageError
from luthier.core.files import read_json
from luthier.core.method_facts import METHOD_NAMES
from luthier.methods import load_adapted, method_for, save_adapted
from luthier.methods.adapted import is_adapter
from luthier.methods.last_layers import LastLayersMethod
from luthier.methods.lora import LoraMethod
from luthier.methods.prefix_tuning import PrefixTuningMethod
from luthier.methods.prompt_tuning import PromptTuningMethod
from luthier.methods.rslora import RsloraMethod
from luthier.methods.selective import SelectiveMethod
from luthier.models.load import LoadedModel
from luthier.planning import TrainingSetup, read_architecture
from luthier.planning.from_config import tuning_of
from luthier.planning.memory import pass_cost
from luthier.records.evaluation import ModelStamp

MODELS = ("tiny_llama", "tiny_t5")
STARTING_THERE = sorted({*METHOD_NAMES} - {"prompt-tuning", "prefix-tuning", "p-tuning"})
CPU = torch.device("cpu")
QUIET = Console(quiet=True)
# The one method that has to be told what it trains.
METHODS = MethodsConfig(selective=SelectiveConfig(parameters=("mlp|Dense",)))


def prepared(loaded: Any, method: Any) -> Any:
    torch.manual_seed(0)
    model = method.prepare(loaded)
    return type(loaded)(model, loaded.tokenizer, loaded.stamp, loaded.device)


def trained_names(model: Any) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


@pytest.mark.parametrize("name", MODELS)
def test_full_trains_everything(name: str, load: Any, request: pytest.FixtureRequest) -> None:
    loaded = load(request.getfixturevalue(name))
    loaded.model.requires_grad_(False)
    model = method_for("full", MethodsConfig()).prepare(loaded)
    assert len(trained_names(model)) == len(list(model.parameters()))


@pytest.mark.sample(14)
@pytest.mark.parametrize("method", STARTING_THERE)
@pytest.mark.parametrize("name", [*MODELS, "tiny_gpt2"])
def test_tuning_starts_from_the_base_models_answers(
    name: str, method: Any, load: Any, request: pytest.FixtureRequest
) -> None:
    if method == "bitfit" and name != "tiny_gpt2":
        pytest.skip("no biases")
    loaded = load(request.getfixturevalue(name))
    ids_BT = torch.arange(3, 23).reshape(2, 10)
    inputs = {"input_ids": ids_BT}
    if loaded.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids_BT
    with torch.no_grad():
        before = loaded.model(**inputs).logits
        model = prepared(loaded, method_for(method, METHODS)).model.eval()
        after = model(**inputs).logits
    torch.testing.assert_close(after, before, atol=2e-6, rtol=0)


@pytest.mark.sample(16)
@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("name", [*MODELS, "tiny_gpt2"])
def test_the_planner_counts_what_is_trained(
    name: str, method: Any, load: Any, request: pytest.FixtureRequest
) -> None:
    if method == "bitfit" and name != "tiny_gpt2":
        pytest.skip("no biases")
    folder = request.getfixturevalue(name)
    model = prepared(load(folder), method_for(method, METHODS)).model
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    values = read_json(folder / "config.json")
    architecture = read_architecture(values, name)
    encoder_decoder = architecture.is_encoder_decoder
    setup = TrainingSetup(
        tuning_of(method, METHODS, architecture),
        batch=1,
        length=8,
        target_length=4 if encoder_decoder else 0,
        predicted=4,
    )
    assert pass_cost(architecture, setup).trained_count == counted


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_biases_has_nothing_for_bitfit(
    name: str, load: Any, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(UsageError, match="no biases to train"):
        method_for("bitfit", MethodsConfig()).prepare(load(request.getfixturevalue(name)))


@pytest.mark.parametrize("name", [*MODELS, "tiny_gpt2"])
def test_the_last_layers_and_what_follows_them(
    name: str, load: Any, request: pytest.FixtureRequest
) -> None:
    config = LastLayersConfig(layers=1)
    names = trained_names(
        prepared(load(request.getfixturevalue(name)), LastLayersMethod(config)).model
    )
    assert names
    assert all(".1." in one or "norm" in one or "ln_f" in one for one in names)
    assert any(".1." in one for one in names)
    assert not any("encoder.block" in one and "decoder" not in one for one in names)
    assert not any("embed" in one or "shared" in one or "wte" in one for one in names)


def test_the_last_layers_of_a_bart_are_its_decoders() -> None:
    """Its names have a prefix before ``encoder``, and its encoder is deeper here."""
    from transformers import BartConfig, BartForConditionalGeneration

    size = {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 100}
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    settings = BartConfig(**size, **heads, encoder_layers=3, decoder_layers=2)
    stamp = ModelStamp(id="bart", parameters=0, dtype="float32", architecture="Bart")
    loaded = LoadedModel(BartForConditionalGeneration(settings), None, stamp, CPU)
    names = trained_names(prepared(loaded, LastLayersMethod(LastLayersConfig(layers=1))).model)
    assert any("decoder.layers.1." in name for name in names)
    assert not any("encoder." in name or "decoder.layers.0." in name for name in names)


def test_more_layers_than_there_are(load: Any, tiny_llama: Path) -> None:
    with pytest.raises(UsageError, match="has 2 layers, not 3") as caught:
        LastLayersMethod(LastLayersConfig(layers=3)).prepare(load(tiny_llama))
    assert caught.value.where == "methods.last-layers.layers"


def test_selective_trains_what_is_named_and_nothing_else(load: Any, tiny_llama: Path) -> None:
    config = SelectiveConfig(parameters=(r"layers\.1\.mlp\.", r"^model\.norm\."))
    assert trained_names(prepared(load(tiny_llama), SelectiveMethod(config)).model) == [
        "model.layers.1.mlp.gate_proj.weight",
        "model.layers.1.mlp.up_proj.weight",
        "model.layers.1.mlp.down_proj.weight",
        "model.norm.weight",
    ]


@pytest.mark.parametrize(
    ("patterns", "problem"),
    [
        ((), "selective needs the names"),
        (("mlp", "lm_head"), "no parameter name matches 'lm_head'"),
    ],
)
def test_selective_says_what_could_be_named(
    patterns: tuple[str, ...], problem: str, load: Any, tiny_llama: Path
) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        SelectiveMethod(SelectiveConfig(parameters=patterns)).prepare(load(tiny_llama))
    assert caught.value.where == "methods.selective.parameters"
    assert "model.layers.*.mlp.down_proj.weight" in caught.value.fix


@pytest.mark.parametrize("name", MODELS)
def test_lora_adapts_linear_layers_and_not_the_output(
    name: str, load: Any, request: pytest.FixtureRequest
) -> None:
    model = prepared(load(request.getfixturevalue(name)), LoraMethod(LoraConfig())).model
    assert trained_names(model)
    assert all("lora_" in parameter for parameter in trained_names(model))
    assert not any("lm_head" in parameter for parameter in trained_names(model))


def test_the_update_of_rslora_is_scaled_by_the_root_of_its_rank(
    load: Any, tiny_llama: Path
) -> None:
    model = prepared(load(tiny_llama), RsloraMethod(RsloraConfig(rank=16, alpha=8))).model
    adapted = [module for name, module in model.named_modules() if name.endswith("q_proj")]
    assert {module.scaling["default"] for module in adapted} == {2.0}


def test_loras_settings_reach_peft(load: Any, tiny_llama: Path) -> None:
    config = LoraConfig(rank=3, alpha=12, dropout=0.25, targets=("q_proj",))
    model = prepared(load(tiny_llama), LoraMethod(config)).model
    layers = [module for name, module in model.named_modules() if name.endswith("q_proj")]
    assert len(layers) == 2
    assert layers[0].lora_A["default"].weight.shape == (3, 32)
    assert layers[0].scaling["default"] == 4
    assert layers[0].lora_dropout["default"].p == 0.25


def test_lora_without_a_target_is_a_users_mistake(load: Any, tiny_llama: Path) -> None:
    with pytest.raises(UsageError, match="no module's name ends with 'query'") as caught:
        LoraMethod(LoraConfig(targets=("query",))).prepare(load(tiny_llama))
    assert caught.value.where == "methods.lora.targets"


@pytest.mark.parametrize("name", MODELS)
def test_prompt_tuning_trains_its_vectors_alone(
    name: str, load: Any, request: pytest.FixtureRequest
) -> None:
    loaded = load(request.getfixturevalue(name))
    model = prepared(loaded, PromptTuningMethod(PromptTuningConfig(virtual_tokens=5))).model
    assert [p.shape for p in model.parameters() if p.requires_grad] == [(5, 32)]
    embeddings_VD = loaded.model.get_input_embeddings().weight
    for vector in model.get_prompt(batch_size=1)[0]:  # each is the embedding of some token
        assert bool((embeddings_VD == vector).all(dim=1).any())


def test_a_soft_prompt_starts_from_words(load: Any, tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    config = PromptTuningConfig(virtual_tokens=5, initial_text="It is it")
    ids = loaded.tokenizer("It is it")["input_ids"]
    assert 1 < len(ids) < 5
    model = prepared(loaded, PromptTuningMethod(config)).model
    expected = loaded.model.get_input_embeddings().weight[(ids * 5)[:5]]
    assert torch.equal(model.get_prompt(batch_size=1)[0], expected)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_prefix_of_an_encoder_decoder_stands_before_its_answer(layers: int) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    size = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_heads": 4, "vocab_size": 100}
    settings = T5Config(**size, num_layers=1, num_decoder_layers=layers, dropout_rate=0.0)
    base = T5ForConditionalGeneration(settings).eval()
    words = torch.arange(20, 25)
    ids_1T = torch.arange(3, 13)[None]
    heard = torch.cat([words[None], ids_1T], dim=1)
    stamp = ModelStamp(id="t5", parameters=0, dtype="float32", architecture="T5")
    loaded = LoadedModel(base, lambda *_, **__: {"input_ids": words.tolist()}, stamp, CPU)
    config = PrefixTuningConfig(virtual_tokens=5, initial_text="these")
    with torch.no_grad():
        # The words' own encoder read the words, so the question here is the words too.
        read = base(input_ids=words[None], decoder_input_ids=heard).logits
        model = PrefixTuningMethod(config).prepare(loaded).eval()
        found = model(input_ids=words[None], decoder_input_ids=ids_1T).logits
    torch.testing.assert_close(found, read[:, 5:], rtol=0, atol=1e-5)
    model(input_ids=words[None], decoder_input_ids=ids_1T).logits.sum().backward()
    (gradient,) = (p.grad for p in model.parameters() if p.requires_grad)
    pairs = gradient.reshape(5, -1, 2, 32).abs().amax((0, 2, 3))
    assert int((pairs > 0).sum()) == layers


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_gpt2"])
def test_a_prefix_starts_as_what_words_leave_behind(
    name: str, load: Any, request: pytest.FixtureRequest
) -> None:
    loaded = load(request.getfixturevalue(name))
    words = loaded.tokenizer("It is it")["input_ids"]
    config = PrefixTuningConfig(virtual_tokens=len(words), initial_text="It is it")
    ids_BT = torch.arange(3, 23).reshape(2, 10)
    with torch.no_grad():
        read = loaded.model(torch.cat([torch.tensor([words, words]), ids_BT], dim=1)).logits
        model = prepared(loaded, PrefixTuningMethod(config)).model.eval()
        found = model(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT)).logits
    torch.testing.assert_close(found, read[:, len(words) :], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "method",
    [
        PromptTuningMethod(PromptTuningConfig(initial_text="")),
        PrefixTuningMethod(PrefixTuningConfig(initial_text="")),
    ],
)
def test_an_empty_text_is_a_users_mistake(method: Any, load: Any, tiny_llama: Path) -> None:
    with pytest.raises(UsageError, match=f"{method.name} has no tokens"):
        method.prepare(load(tiny_llama))


@pytest.fixture
def adapter(load: Any, tiny_llama: Path, tmp_path: Path) -> Path:
    """A saved LoRA adapter of the tiny Llama."""
    folder = tmp_path / "model"
    save_adapted(prepared(load(tiny_llama), LoraMethod(LoraConfig(rank=4))), folder)
    return folder


def load_on(base: Path, folder: Path) -> Any:
    return load_adapted(folder, ModelConfig(id=str(base), dtype="float32"), QUIET)


def test_an_adapter_is_small_and_complete(adapter: Path, tiny_llama: Path) -> None:
    names = {path.name for path in adapter.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= names
    weights = (adapter / "adapter_model.safetensors").stat().st_size
    assert weights < (tiny_llama / "model.safetensors").stat().st_size / 10
    assert [path.name for path in adapter.parent.iterdir()] == ["model"]
    loaded = load_on(tiny_llama, adapter)
    assert is_adapter(loaded)
    assert not loaded.model.training


def test_an_adapter_of_another_model(adapter: Path, tiny_t5: Path) -> None:
    with pytest.raises(DataError, match="does not fit tiny-t5") as caught:
        load_on(tiny_t5, adapter)
    assert caught.value.where == str(adapter)


def test_a_damaged_adapter(adapter: Path, tiny_llama: Path) -> None:
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(DataError, match="this file of weights is damaged"):
        load_on(tiny_llama, adapter)
    (adapter / "adapter_config.json").write_text("{")
    with pytest.raises(DataError, match="invalid JSON"):
        load_on(tiny_llama, adapter)


def test_a_pickled_adapter_is_refused(adapter: Path, tiny_llama: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(DataError, match="no safetensors weights"):
        load_on(tiny_llama, adapter)


def test_saving_replaces_what_was_there(adapter: Path, load: Any, tiny_llama: Path) -> None:
    save_adapted(load(tiny_llama), adapter)  # a whole model over an adapter
    assert not (adapter / "adapter_config.json").exists()
    assert not is_adapter(load_on(tiny_llama, adapter))


def test_a_full_disk_leaves_the_old_model(
    adapter: Path, load: Any, tiny_llama: Path, files_limited_to: Any
) -> None:
    with files_limited_to(2000), pytest.raises(ResourceError, match="bytes are needed"):
        save_adapted(load(tiny_llama), adapter)
    assert is_adapter(load_on(tiny_llama, adapter))
    assert [path.name for path in adapter.parent.iterdir()] == ["model"]


def test_a_model_that_cannot_be_saved(load: Any, tiny_t5: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="cannot write"):
        save_adapted(load(tiny_t5), tmp_path / "file" / "model")
