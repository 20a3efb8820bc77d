"""Methods on vision-language models: the language model is tuned, the part that sees is not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from tests import parcels
from tests.wrappers import WRAPPERS, lively, paligemma

from luthier.cli.main import run as luthier
from luthier.config import MethodsConfig, ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.method_facts import METHOD_NAMES, MethodName
from luthier.methods import load, load_adapted, method_for, save_adapted
from luthier.methods.merge import merge
from luthier.models.kinds import (
    frozen_pattern,
    is_frozen,
    model_class,
    require_text,
)
from luthier.models.load import LoadedModel, open_model
from luthier.planning.families import FAMILIES, read_architecture
from luthier.planning.from_config import tuning_of
from luthier.planning.memory import pass_cost
from luthier.planning.training_setup import TrainingSetup

QUIET = Console(quiet=True)
IDS = [[3, 40, 41, 7, 300, 301], [900, 901, 902, 12, 13, 14]]
# Without biases there is no bitfit, and bitsandbytes is not for every machine.
METHODS = sorted({*METHOD_NAMES} - {"bitfit", "qlora"})
SETTINGS: dict[str, Any] = {
    "selective": {"parameters": ["mlp", "norm"]},
    "last-layers": {"layers": 1},
    "vera": {"rank": 4},
    "lora": {"rank": 2},
}
# Peft would take Llama 4's router, which gives two tensors, for a linear layer.
TARGETS = {"llama4": ["q_proj", "v_proj", "o_proj"]}


@pytest.fixture(scope="module")
def make_folder(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Any:
    """The folder of a model of one kind, without a processor."""
    root = tmp_path_factory.mktemp("wrappers")

    def make(name: str) -> Path:
        if not (root / name).is_dir():
            lively(WRAPPERS[name]).save_pretrained(root / name)
            small_tokenizer.save_pretrained(root / name)
        return root / name

    return make


def loaded(folder: Path) -> LoadedModel:
    return load(open_model(ModelConfig(id=str(folder), dtype="float32"), QUIET))


def settings_of(method: MethodName, wrapper: str) -> MethodsConfig:
    values = dict(SETTINGS.get(method, {}))
    if method == "lora" and wrapper in TARGETS:
        values["targets"] = TARGETS[wrapper]
    return MethodsConfig.model_validate({method: values})


def prepared(folder: Path, method: MethodName, wrapper: str = "") -> LoadedModel:
    base = loaded(folder)
    model = method_for(method, settings_of(method, wrapper)).prepare(base)
    return dataclasses.replace(base, model=model)


def trained(model: Any) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def one_step(model: Any) -> None:
    """A step that changes whatever is trained."""
    ids_BT = torch.tensor(IDS)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    for _ in range(2):  # a factor that starts at zero gives the other no gradient
        loss = model(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), labels=ids_BT).loss
        optimizer.zero_grad()
        loss.backward()
        without = [name for name, p in trained(model).items() if p.grad is None]
        assert not without, without[:3]
        optimizer.step()
    model.eval()


def seeing(state: dict[str, torch.Tensor], pattern: str) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in state.items() if is_frozen(name, pattern)}


@pytest.mark.sample(12)
@pytest.mark.parametrize("method", ["lora", "full", "last-layers"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_only_the_language_model_is_trained(
    wrapper: str, method: MethodName, make_folder: Any
) -> None:
    base = loaded(make_folder(wrapper))
    pattern = frozen_pattern(base.model)
    assert pattern is not None
    before = seeing(base.model.state_dict(), pattern)
    assert any("vision" in name or "visual" in name for name in before)
    assert not any("embed_tokens" in name or "lm_head" in name for name in before)
    tuned = method_for(method, settings_of(method, wrapper)).prepare(base)
    one_step(tuned)  # every trained parameter has a gradient
    names = [name.removeprefix("base_model.model.") for name in trained(tuned)]
    assert names
    assert not [name for name in names if is_frozen(name, pattern)]
    core = tuned.get_base_model() if hasattr(tuned, "get_base_model") else tuned
    after = core.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.sample(12)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrapper", ["llava", "gemma3", "qwen2_5_vl", "idefics3"])
def test_every_method(wrapper: str, method: MethodName, make_folder: Any) -> None:
    """Each leaves the part that sees alone, and what it saves gives the same answers again."""
    folder = make_folder(wrapper)
    tuned = prepared(folder, method)
    pattern = frozen_pattern(loaded(folder).model)
    names = [name.removeprefix("base_model.model.") for name in trained(tuned.model)]
    assert names
    soft = ("prompt_encoder", "prompt")
    assert not [n for n in names if is_frozen(n, pattern) and not n.startswith(soft)]
    one_step(tuned.model)
    saved = folder.parent / f"{wrapper}-{method}"
    save_adapted(tuned, saved)
    again = load_adapted(saved, ModelConfig(id=str(folder), dtype="float32"), QUIET)
    ids_BT = torch.tensor(IDS)
    with torch.inference_mode():
        expected = tuned.model(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT)).logits
        found = again.model(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT)).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.sample(6)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_peft_loads_the_adapter_onto_the_wrapper(wrapper: str, make_folder: Any) -> None:
    import peft
    from transformers import AutoModelForImageTextToText

    folder = make_folder(wrapper)
    tuned = prepared(folder, "lora", wrapper)
    one_step(tuned.model)
    saved = folder.parent / f"{wrapper}-adapter"
    save_adapted(tuned, saved)
    plain = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(plain, saved).eval()
    ids_BT = torch.tensor(IDS)
    with torch.inference_mode():
        expected = tuned.model(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT)).logits
        found = theirs(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT)).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    names = load_file(saved / "adapter_model.safetensors")
    assert not [name for name in names if "vision" in name or "visual" in name]


def test_merged_into_the_language_model(make_folder: Any, tmp_path: Path) -> None:
    folder = make_folder("llava")
    tuned = prepared(folder, "lora", "llava")
    one_step(tuned.model)
    merged = merge(tuned, IDS)
    save_adapted(merged.loaded, tmp_path / "merged")
    whole, base = loaded(tmp_path / "merged"), loaded(folder)
    pattern = frozen_pattern(base.model) or ""
    for name, value in seeing(base.model.state_dict(), pattern).items():
        assert torch.equal(whole.model.state_dict()[name], value)


@pytest.mark.sample(20)
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("method", ["lora", "full", "dora", "ia3", "layernorm"])
def test_the_plan_counts_what_is_trained(
    wrapper: str, method: MethodName, make_folder: Any
) -> None:
    folder = make_folder(wrapper)
    handle = open_model(ModelConfig(id=str(folder)), QUIET)
    kind = handle.settings.get_text_config().model_type
    if kind not in FAMILIES and not kind.startswith("qwen"):
        pytest.skip(f"the planner does not know {kind}")
    architecture = read_architecture(handle.description, str(folder))
    methods = settings_of(method, wrapper)
    setup = TrainingSetup(tuning=tuning_of(method, methods, architecture), length=8)
    tuned = prepared(folder, method, wrapper)
    counted = sum(parameter.numel() for parameter in trained(tuned.model).values())
    assert pass_cost(architecture, setup).trained_count == counted


def test_tuning_by_the_command(
    make_folder: Any, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parcels.tuned(make_folder("qwen2_5_vl"), parcels.written(in_tmp_path, 20), "lora") == 0
    record = json.loads(capsys.readouterr().out)
    plan = json.loads(Path("runs/run/plan.json").read_text())
    # The part that sees is in memory too, though nothing is planned of it.
    stored = sum(
        v.nbytes for v in load_file(make_folder("qwen2_5_vl") / "model.safetensors").values()
    )
    assert plan["predicted_bytes"]["weights"] == stored
    assert record["trained_parameters"] > 0
    assert luthier(["evaluate", "runs/run"]) == 0
    assert luthier(["merge", "runs/run"]) == 0


REFUSED = {
    "blip-2": "a vision-language model that needs pixel_values in addition to text",
    "instructblip": "a vision-language model that needs pixel_values in addition to text",
    "florence2": "a vision-language model whose encoder reads images",
    "pix2struct": "a vision-language model whose encoder reads images",
    "git": "a vision-language model without a separate language model",
    "idefics": "a vision-language model without a separate language model",
    "paligemma": "a vision-language model with bidirectional attention",
    "qwen2_audio": "an audio-language model",
    "voxtral": "an audio-language model",
    "granite_speech": "an audio-language model",
    "qwen2_5_omni": "a multimodal model",
    "phi4_multimodal": "a multimodal model",
    "whisper": "a speech recognition model",
    "wav2vec2": "a speech recognition model",
    "musicgen": "a text-to-audio model",
    "vit": "an image classification model",
    "detr": "an object detection model",
    "distilbert": "an encoder for masked language modelling",
    "deberta-v2": "an encoder for masked language modelling",
    "timesfm": "a time series model",
    "patchtst": "a model that does not generate text",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_kinds_are_refused_by_their_kind(kind: str) -> None:
    from transformers import AutoConfig

    with pytest.raises(DataError) as caught:
        model_class(AutoConfig.for_model(kind), "there")
    assert f"is {REFUSED[kind]}" in caught.value.problem
    assert "not supported" in caught.value.problem
    assert caught.value.where == "there"


def test_a_refusal_comes_before_the_plan(
    tmp_path: Path, small_tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import WhisperConfig

    folder = tmp_path / "whisper"
    WhisperConfig(architectures=["WhisperForConditionalGeneration"]).save_pretrained(folder)
    small_tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(save({"a": torch.zeros(1)}))
    assert parcels.tuned(folder, parcels.written(tmp_path, 40), "lora", "--dry-run") == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "WhisperForConditionalGeneration is a speech recognition model" in said
    assert "plan" not in said


def test_a_trial_finds_tokens_that_see_those_after_them() -> None:
    """Whatever its settings are called."""
    with pytest.raises(DataError, match="bidirectional attention"):
        require_text(lively(paligemma), "there")
    require_text(lively(WRAPPERS["llava"]), "there")
