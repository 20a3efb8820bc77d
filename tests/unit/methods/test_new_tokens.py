"""New tokens and whole modules beside an adapter: trained, saved for peft, merged, counted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from luthier.config import MethodsConfig, ModelConfig
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.method_facts import MethodName
from luthier.methods import load, load_adapted, method_for, save_adapted
from luthier.methods.merge import merge
from luthier.methods.weightless import counted_parameters
from luthier.models.load import open_model

QUIET = Console(quiet=True)
IDS = torch.tensor([[3, 5, 7, 9, 11, 5]])
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "mistral": {"num_key_value_heads": 2, "tie_word_embeddings": False},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 16},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4},
    "gpt_neox": {"tie_word_embeddings": False},
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "t5": {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4},
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Any:
    root = tmp_path_factory.mktemp("models")

    def make(kind: str) -> Path:
        if not (root / kind).is_dir():
            values = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
            values |= {
                "vocab_size": len(small_tokenizer),
                "intermediate_size": 96,
                "pad_token_id": 0,
            }
            known = transformers.AutoConfig.for_model(kind).__class__
            if kind in ("gpt2", "t5"):
                values = {"vocab_size": len(small_tokenizer), "pad_token_id": 0}
            values |= {"decoder_start_token_id": 0} if kind == "t5" else {}
            config = known(**values, **KINDS[kind])
            torch.manual_seed(0)
            auto_of(config).from_config(config).save_pretrained(root / kind)
            small_tokenizer.save_pretrained(root / kind)
        return root / kind

    return make


def auto_of(config: Any) -> Any:
    if config.is_encoder_decoder:
        return transformers.AutoModelForSeq2SeqLM
    return transformers.AutoModelForCausalLM


def logits(model: Any) -> torch.Tensor:
    more = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS, **more).logits
    return found


@pytest.mark.sample(5)
@pytest.mark.parametrize("extra", ["trainable_tokens", "modules_to_save"])
@pytest.mark.parametrize("method", ["lora", "adalora"])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_modules(
    kind: str, method: MethodName, extra: str, folder_of: Any, tmp_path: Path
) -> None:
    if kind == "t5" and extra == "modules_to_save":
        pytest.skip("refused, as the next test shows")
    config = ModelConfig(id=str(folder_of(kind)), dtype="float32")
    handle = open_model(config, QUIET)
    base = load(handle)
    table = base.model.get_input_embeddings()
    before = table.weight.detach().clone()
    name = next(key for key, one in base.model.named_modules() if one is table)
    chosen = [handle.tokenizer.convert_ids_to_tokens(5), 9]
    if extra == "modules_to_save":
        chosen = [name.rpartition(".")[2]]
    settings = {"rank": 4, extra: chosen} | ({"final_rank": 2} if method == "adalora" else {})
    methods = MethodsConfig.model_validate({method: settings})
    model = method_for(method, methods).prepare(base)
    trained = {key: one for key, one in model.named_parameters() if one.requires_grad}
    assert counted_parameters(handle, method, methods) == sum(p.numel() for p in trained.values())
    optimizer = torch.optim.SGD(trained.values(), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    assert not [key for key, one in trained.items() if one.grad is None]
    tuned = dataclasses.replace(base, model=model)
    expected = logits(model)
    save_adapted(tuned, tmp_path / "adapter")
    again = load_adapted(tmp_path / "adapter", config, QUIET)
    torch.testing.assert_close(logits(again.model), expected)
    plain = auto_of(handle.settings).from_pretrained(folder_of(kind), dtype=torch.float32)
    beside = peft.PeftModel.from_pretrained(plain, tmp_path / "adapter")
    torch.testing.assert_close(logits(beside), expected)
    merged = merge(again, [IDS[0].tolist()])
    save_adapted(merged.loaded, tmp_path / "merged")
    whole = auto_of(handle.settings).from_pretrained(tmp_path / "merged", dtype=torch.float32)
    torch.testing.assert_close(logits(whole), expected, rtol=1e-3, atol=1e-4)
    changed = (whole.get_input_embeddings().weight != before).any(dim=1).nonzero().flatten()
    if extra == "trainable_tokens":
        assert changed.tolist() == [5, 9]
    else:
        assert {5, 9} <= set(changed.tolist())


def test_what_cannot_be_is_refused(folder_of: Any) -> None:
    for kind, method, settings, message in (
        ("llama", "lora", {"trainable_tokens": ["<|depot|>"]}, "no token"),
        ("llama", "lora", {"trainable_tokens": [10**6]}, "none for token"),
        ("llama", "ia3", {"modules_to_save": ["lm_head"]}, "would untie them"),
        ("t5", "lora", {"modules_to_save": ["shared"]}, "would untie them"),
        ("mistral", "lora", {"modules_to_save": ["lm_head"], "trainable_tokens": [5]}, "some of"),
    ):
        handle = open_model(ModelConfig(id=str(folder_of(kind)), dtype="float32"), QUIET)
        methods = MethodsConfig.model_validate({method: settings})
        with pytest.raises(UsageError, match=message):
            counted_parameters(handle, method, methods)  # type: ignore[arg-type]
