"""What tuning saves answers the same elsewhere: in peft and transformers, or by its formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from tests.objectives import SUPERVISED
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from luthier.config import Decoding, ModelConfig, RunConfig
from luthier.core.console import Console
from luthier.core.method_facts import METHOD_NAMES
from luthier.inference.local.engine import LocalEngine
from luthier.methods import load_adapted
from luthier.methods.adapted import is_adapter
from luthier.models.quantised import quantisation_options
from luthier.records.run_directory import RunDirectory
from luthier.training import TrainingData, tune

LEARNING_RATES = {
    "full": 0.02,
    "bitfit": 0.3,
    "layernorm": 0.3,
    "last-layers": 0.05,
    "selective": 0.05,
    "lora": 0.1,
    "rslora": 0.1,
    "dora": 0.1,
    "adalora": 0.1,
    "qlora": 0.1,
    "vera": 1.0,
    "ia3": 1.0,
    "adapters": 0.05,
    "prompt-tuning": 3.0,
    "prefix-tuning": 1.0,
    "p-tuning": 0.1,
}
# What a method does not train without being told.
TOLD: dict[str, dict[str, Any]] = {"selective": {"parameters": ["mlp|Dense"]}}
MODELS = {"bitfit": ("tiny_gpt2",), "prefix-tuning": ("tiny_llama", "tiny_gpt2", "tiny_t5")}
CASES = [
    (model, method)
    for method in METHOD_NAMES
    for model in MODELS.get(method, ("tiny_llama", "tiny_t5"))
]
NEW_TOKENS = 10


def answers(loaded: Any, prompts: list[Any]) -> list[tuple[int, ...]]:
    decoding = Decoding(max_new_tokens=NEW_TOKENS)
    return [g.ids for g in LocalEngine(loaded, 512).generate(prompts, decoding)]


def outside_answers(model: Any, prompts: list[Any], end: int) -> list[tuple[int, ...]]:
    made = []
    for prompt in prompts:
        ids_1T = torch.tensor([prompt])
        with torch.inference_mode():
            output = (
                model.eval()
                .generate(
                    input_ids=ids_1T,
                    attention_mask=torch.ones_like(ids_1T),
                    do_sample=False,
                    max_new_tokens=NEW_TOKENS,
                    pad_token_id=0,
                )[0]
                .tolist()
            )
        new = output[1:] if model.config.is_encoder_decoder else output[len(prompt) :]
        made.append(tuple(new[: new.index(end)] if end in new else new))
    return made


def with_bottlenecks(model: Any, folder: Path) -> Any:
    """Adapters are in no other library: their formula, written out from the saved numbers."""
    saved = load_file(folder / "adapter_model.safetensors")

    def follow(linear: Any, name: str) -> None:
        down, down_bias, up, up_bias = (
            saved[f"{name}.bottleneck_adapter.{part}"]
            for part in ("down.weight", "down.bias", "up.weight", "up.bias")
        )

        def hook(_module: Any, _inputs: Any, x: torch.Tensor) -> torch.Tensor:
            z = x @ down.T + down_bias
            return x + (z * torch.special.ndtr(z)) @ up.T + up_bias

        linear.register_forward_hook(hook)

    for name in {key.rpartition(".bottleneck_adapter.")[0] for key in saved}:
        follow(model.get_submodule(name), name)
    return model


@pytest.mark.sample(6)
@pytest.mark.parametrize(("name", "method"), CASES)
def test_a_saved_model_answers_the_same_elsewhere(
    name: str,
    method: Any,
    load: Any,
    load_lively: Any,
    make_examples: Any,
    request: pytest.FixtureRequest,
    in_tmp_path: Path,
) -> None:
    base_folder = in_tmp_path / name
    lively = load_lively(request.getfixturevalue(name))
    lively.model.save_pretrained(base_folder)
    lively.tokenizer.save_pretrained(base_folder)
    quantisation = RunConfig().base_of(method).quantisation
    base = load(base_folder, quantisation=quantisation)
    examples = make_examples(base, 6)
    prompts = [list(e.input_ids[: e.prompt_length]) for e in examples]
    untuned = answers(base, prompts)
    config = RunConfig.model_validate(
        {
            "train": {"epochs": 8, "batch_size": 3, "num_validations": 0},
            "methods": {method: {"learning_rate": LEARNING_RATES[method]} | TOLD.get(method, {})},
        }
    )
    run = RunDirectory.create(in_tmp_path, "run")
    data = TrainingData(examples, (), "fingerprint", SUPERVISED)
    tuned, record = tune(base, method, config, data, run, Console(quiet=True))
    expected = answers(tuned, prompts)
    assert expected != untuned
    assert record.artifact_bytes > 0

    kind = AutoModelForSeq2SeqLM if tuned.is_encoder_decoder else AutoModelForCausalLM
    if not is_adapter(tuned):
        outside = kind.from_pretrained(run.model, dtype=torch.float32)
    else:
        options = quantisation_options(quantisation, torch.float32)
        plain = kind.from_pretrained(base_folder, dtype=torch.float32, **options)
        for module in plain.modules():
            # On CPUs with bfloat16 instructions bitsandbytes packs weights anew, and cannot pack
            # rows that are shorter than its block of 64.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        attach = with_bottlenecks if method == "adapters" else peft.PeftModel.from_pretrained
        outside = attach(plain, run.model)
    assert outside_answers(outside, prompts, tuned.tokenizer.eos_token_id) == expected

    described = ModelConfig(id=str(base_folder), dtype="float32", quantisation=quantisation)
    again = load_adapted(run.model, described, Console(quiet=True))
    assert answers(again, prompts) == expected
