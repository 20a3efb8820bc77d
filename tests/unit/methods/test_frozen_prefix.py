"""Frozen lower layers that are computed once give what they give when they are computed always."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.objectives import SUPERVISED
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from luthier.config.methods import LastLayersConfig
from luthier.core.files import read_lines
from luthier.methods.frozen_prefix import FrozenPrefix
from luthier.methods.last_layers import LastLayersMethod
from luthier.prompts.training_example import TrainingExample

DEVICE = torch.device("cpu")
DEPTH, TRAINED = 4, 2


@pytest.fixture(scope="module")
def deep_llama(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Path:
    """A folder with a random Llama of four layers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(small_tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=DEPTH,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=2,
    )
    return _saved(LlamaForCausalLM, config, tmp_path_factory, small_tokenizer)


@pytest.fixture(scope="module")
def deep_bloom(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Path:
    """A folder with a random Bloom of four layers: its layers give tuples, and it has ALiBi."""
    from transformers import BloomConfig, BloomForCausalLM

    config = BloomConfig(
        vocab_size=len(small_tokenizer), hidden_size=32, n_layer=DEPTH, n_head=4, pad_token_id=2
    )
    return _saved(BloomForCausalLM, config, tmp_path_factory, small_tokenizer)


def _saved(kind: Any, config: Any, folders: pytest.TempPathFactory, tokenizer: Any) -> Path:
    torch.manual_seed(0)
    folder = folders.mktemp("models") / config.model_type
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def prepare(load: Any, request: pytest.FixtureRequest) -> Any:
    """A model of which the last layers are trained, in training mode, and the layers below."""

    def make(name: str, layers: int = TRAINED) -> tuple[Any, list[Any], Any]:
        loaded = load(request.getfixturevalue(name))
        model = LastLayersMethod(LastLayersConfig(layers=layers)).prepare(loaded).train()
        stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
        return model, list(stacks[0])[:-layers], loaded

    return make


def gradients(model: Any, examples: Sequence[TrainingExample]) -> list[Tensor]:
    """The loss, and its gradient for every trained parameter."""
    torch.manual_seed(0)
    model.zero_grad()
    loss = SUPERVISED.summed_loss(model, examples, DEVICE)
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def assert_equal(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    assert len(found) == len(expected) > 1
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def count_calls(layer: Any) -> list[int]:
    """Grows by the rows of each pass through the inside of ``layer``."""
    rows: list[int] = []
    inside = next(iter(layer.children()))
    inside.register_forward_hook(lambda _module, _arguments, _output: rows.append(1))
    return rows


@pytest.mark.parametrize("name", ["deep_llama", "deep_bloom"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_losses_and_gradients_are_the_same(
    name: str, checkpointing: bool, prepare: Any, make_examples: Any
) -> None:
    model, layers, loaded = prepare(name)
    if name == "deep_bloom":
        without_dropout(model)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    examples = make_examples(loaded, 6)
    assert len({len(example.input_ids) for example in examples}) > 1
    expected = gradients(model, examples)
    calls = count_calls(layers[-1])
    prefix = FrozenPrefix(model, layers)
    with prefix.in_place():
        first = gradients(model, examples)
        made = len(calls)
        second = gradients(model, examples[::-1])
        assert len(calls) == made >= len(examples)
        assert prefix.kept_bytes == sum(len(one.input_ids) for one in examples) * 32 * 4
    for found in (first, second):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    assert_equal(gradients(model, examples), expected)  # everything is as it was
    assert not any("forward" in vars(layer) for layer in layers)


def test_what_is_given_does_not_depend_on_what_is_kept(prepare: Any, make_examples: Any) -> None:
    model, layers, loaded = prepare("deep_llama")
    examples = make_examples(loaded, 6)
    with FrozenPrefix(model, layers).in_place():
        gradients(model, examples[2:])
        known = gradients(model, examples[:4])
    sizes = sorted(len(example.input_ids) * 32 * 4 for example in examples[:4])
    small = FrozenPrefix(model, layers, limit=sum(sizes[:2]))
    with small.in_place():
        gradients(model, examples[:4])
        assert 0 < small.kept_bytes <= sum(sizes[:2])
        calls = count_calls(layers[-1])
        partly = gradients(model, examples[:4])
        assert 0 < len(calls) < 4
    none = FrozenPrefix(model, layers, limit=0)
    with none.in_place():
        new = gradients(model, examples[:4])
        assert none.kept_bytes == 0
    assert_equal(partly, known)
    assert_equal(new, known)


@pytest.mark.parametrize("where", ["below", "above"])
def test_dropout(where: str, prepare: Any, make_examples: Any) -> None:
    """Below it must be drawn anew every time, and nothing is kept; above it does no harm."""
    model, layers, loaded = prepare("tiny_gpt2", layers=1)
    without_dropout(layers[0] if where == "above" else nn.Module())
    if where == "above":
        model.transformer.drop.p = 0.0
    examples = make_examples(loaded, 4)
    expected = gradients(model, examples)
    prefix = FrozenPrefix(model, layers)
    with prefix.in_place():
        found = gradients(model, examples)
    if where == "below":
        assert prefix.kept_bytes == 0
        assert_equal(found, expected)
    else:
        assert prefix.kept_bytes > 0
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_layers_that_pass_on_more_than_a_tensor(prepare: Any, make_examples: Any) -> None:
    """A layer above that looks at what a layer below has left cannot do without it."""
    model, layers, loaded = prepare("deep_llama")
    left: dict[str, Tensor] = {}
    layers[0].mlp.register_forward_hook(lambda _m, _a, output: left.update(value=output))
    above = model.model.layers[-1].mlp
    above.register_forward_hook(lambda _m, _a, output: output + left.pop("value", 0.0))
    examples = make_examples(loaded, 4)
    expected = gradients(model, examples)
    prefix = FrozenPrefix(model, layers)
    with prefix.in_place():
        assert_equal(gradients(model, examples), expected)
    assert prefix.kept_bytes == 0


def test_frequencies_that_follow_the_longest_row(prepare: Any, make_examples: Any) -> None:
    model, layers, loaded = prepare("deep_llama")
    model.config.rope_parameters["rope_type"] = "dynamic"
    prefix = FrozenPrefix(model, layers)
    with prefix.in_place():
        gradients(model, make_examples(loaded, 2))
    assert prefix.kept_bytes == 0


def test_a_validation_is_as_always(prepare: Any, make_examples: Any) -> None:
    model, layers, loaded = prepare("deep_llama")
    examples = make_examples(loaded, 4)
    expected = SUPERVISED.summed_loss(model.eval(), examples, DEVICE)
    with FrozenPrefix(model, layers).in_place():
        gradients(model.train(), examples)
        calls = count_calls(layers[-1])
        assert torch.equal(SUPERVISED.summed_loss(model.eval(), examples, DEVICE), expected)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("name", "layers", "settings", "repeats"),
    [
        ("tiny_llama", 1, {}, False),
        ("tiny_llama", 1, {"cache": False}, True),
        ("tiny_llama", 2, {}, True),
        ("tiny_t5", 1, {}, True),
    ],
)
def test_where_there_is_nothing_to_gain(
    name: str,
    layers: int,
    settings: dict[str, Any],
    repeats: bool,
    load: Any,
    request: pytest.FixtureRequest,
) -> None:
    method = LastLayersMethod(LastLayersConfig(layers=layers, **settings))
    model = method.prepare(load(request.getfixturevalue(name)))
    assert isinstance(method.while_training(model, repeats=repeats), nullcontext)


def test_a_tuning_learns_the_same_from_fewer_passes(small_tune: Any) -> None:
    calls: list[str] = []
    handle = register_module_forward_hook(lambda module, *_: calls.append(type(module).__name__))
    losses, validations, passes = [], [], []
    for cache in (True, False):
        calls.clear()
        _, record, run = small_tune(
            method="last-layers",
            run=str(cache),
            train={"epochs": 3, "num_validations": 3},
            settings={"layers": 1, "cache": cache},
        )
        losses.append([line["loss"] for line in read_lines(run.metrics)])
        validations.append(record.best_validation_loss)
        passes.append(calls.count("LlamaMLP"))
    handle.remove()
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert validations[0] == pytest.approx(validations[1], abs=1e-6)
    assert passes[0] < passes[1]


def without_dropout(module: nn.Module) -> None:
    """Set every dropout inside to zero; Bloom keeps some as numbers."""
    for one in module.modules():
        if isinstance(one, nn.Dropout):
            one.p = 0.0
        if hasattr(one, "hidden_dropout"):
            one.hidden_dropout = 0.0
