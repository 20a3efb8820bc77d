"""A prefix in every family of causal models: its size, and what it answers with and without peft.

Peft puts the prefix before every whole sequence; the generator puts it once into a cache that all
requests share. Both must say the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from luthier.config import Decoding
from luthier.config.methods import PrefixTuningConfig
from luthier.config.yaml import read_yaml
from luthier.inference import ignore_progress
from luthier.inference.local.decoder_only import DecoderOnlyGenerator
from luthier.inference.local.decoding import Stopping
from luthier.methods.prefix_tuning import PrefixTuningMethod
from luthier.models.load import LoadedModel
from luthier.planning import TrainingSetup
from luthier.planning.families import read_architecture
from luthier.planning.memory import pass_cost
from luthier.planning.method_cost import prefix_tuning
from luthier.records.evaluation import ModelStamp

CPU = torch.device("cpu")
FAMILIES = {
    name: values
    for name, values in read_yaml(Path(__file__).parents[1] / "small_models.yaml").values.items()
    if name not in {"t5", "mt5"} and not name.startswith(("t5 ", "mt5 "))
}
PROMPTS = [[5, 6, 7, 8], [5, 6, 9], [5, 6, 10, 11, 12, 13]]


def with_prefix(name: str, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    kind, values = name.split()[0], dict(FAMILIES[name])
    if kind == "gpt_neox":  # it has no groups of heads, and peft believes the configuration
        values.pop("num_key_value_heads", None)
    settings = AutoConfig.for_model(kind, **values)
    model = AutoModelForCausalLM.from_config(settings, dtype=dtype).eval()
    stamp = ModelStamp(id=name, parameters=0, dtype="", architecture=type(model).__name__)
    loaded = LoadedModel(model, None, stamp, CPU)
    prepared = PrefixTuningMethod(PrefixTuningConfig(virtual_tokens=5)).prepare(loaded).eval()
    return LoadedModel(prepared, None, stamp, CPU)


def greedy(model: Any, prompt: list[int], count: int) -> list[int]:
    """Each token from a pass over the whole sequence."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prefix_in_a_cache_answers_as_one_before_the_sequence(name: str) -> None:
    loaded = with_prefix(name)
    decoding = Decoding(max_new_tokens=6)
    stopping = Stopping(loaded.tokenizer, frozenset(), decoding)
    generator = DecoderOnlyGenerator(loaded, 512)
    with torch.inference_mode():
        made = generator.generate(PROMPTS, decoding, stopping, ignore_progress)
    assert made == [greedy(loaded.model, prompt, 6) for prompt in PROMPTS]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_planner_knows_its_size(name: str) -> None:
    model = with_prefix(name).model
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    architecture = read_architecture(model.config.to_dict())
    setup = TrainingSetup(prefix_tuning(5), batch=1, length=8, predicted=4)
    assert pass_cost(architecture, setup).trained_count == trained


def test_every_layer_is_reached_by_its_gradient() -> None:
    model = with_prefix("llama").model
    model(input_ids=torch.tensor([PROMPTS[0]]), use_cache=False).logits.sum().backward()
    (gradient,) = (p.grad for p in model.parameters() if p.requires_grad)
    per_layer = gradient.reshape(5, -1, 32).abs().amax((0, 2))
    assert bool((per_layer > 0).all())
