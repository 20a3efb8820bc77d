"""Examples that share a row give what they give in rows of their own, and see nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.objectives import SUPERVISED
from torch import Tensor

from luthier.config import MethodsConfig
from luthier.core.errors import UsageError
from luthier.core.files import read_lines
from luthier.methods import method_for
from luthier.methods.frozen_prefix import FrozenPrefix
from luthier.models.load import LoadedModel
from luthier.prompts.training_example import TrainingExample
from luthier.records.evaluation import ModelStamp
from luthier.training.layout import Layout, Packed, Padded
from luthier.training.packing import keeps_apart, packing_pays

CPU = torch.device("cpu")
PADDED, PACKED = Padded(max_padding=0.9), Packed()
SMALL = {"vocab_size": 2000, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = SMALL | {"intermediate_size": 64, "num_key_value_heads": 2}
MODELS = {
    "llama": GROUPED,
    "qwen2": GROUPED,
    "gpt2": {"vocab_size": 2000, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "mistral": GROUPED | {"sliding_window": 16},
    "bloom": {"vocab_size": 2000, "hidden_size": 32, "n_layer": 2, "n_head": 4},
}
# Bloom's positions follow from its mask, so nothing tells it where an example begins.
HONEST = [name for name in MODELS if name != "bloom"]


def build(name: str) -> LoadedModel:
    """A random model whose attention is far from even."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **MODELS[name]))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    stamp = ModelStamp(id=name, parameters=1, dtype="float32", architecture=type(model).__name__)
    return LoadedModel(model.eval(), None, stamp, CPU)


def prepared(name: str, method: Any) -> Any:
    loaded = build(name)
    model = method_for(method, MethodsConfig()).prepare(loaded)
    with torch.no_grad():  # an update of LoRA is zero at first
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn_like(parameter)
    return model


def example(length: int, trained: int, seed: int) -> TrainingExample:
    torch.manual_seed(seed)
    ids = tuple(torch.randint(2000, (length,)).tolist())
    mask = (False,) * (length - trained) + (True,) * trained
    return TrainingExample(f"{length}", ids, mask, length - trained)


EXAMPLES = tuple(example(8 + 5 * n, 3 + n, seed=n) for n in range(5))


def gradients(model: Any, layout: Layout) -> dict[str, Tensor]:
    """Of the mean loss, in one pass."""
    model.zero_grad()
    (SUPERVISED.summed_loss(model, EXAMPLES, CPU, layout) / 25).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("name", HONEST)
def test_the_gradient_is_that_of_padded_rows(name: str, method: str) -> None:
    model = prepared(name, method)
    expected, found = (gradients(model, layout) for layout in (PADDED, PACKED))
    assert found.keys() == expected.keys()
    assert expected
    for parameter, value in expected.items():
        torch.testing.assert_close(found[parameter], value, rtol=1e-5, atol=1e-6, msg=parameter)


@pytest.mark.parametrize("name", HONEST)
def test_no_example_sees_another(name: str) -> None:
    """What precedes an example is replaced, and its loss stays; it is that of the example alone."""
    model, last = prepared(name, "lora"), EXAMPLES[-1]
    before = [example(length, 0, seed=7) for length in (20, 9)]
    others = [example(length, 0, seed=8) for length in (20, 9)]
    with torch.no_grad():
        one, other, alone = (
            float(SUPERVISED.summed_loss(model, row, CPU, PACKED))
            for row in ([*before, last], [*others, last], [last])
        )
    assert one == pytest.approx(other, abs=1e-6)
    assert one == pytest.approx(alone, rel=1e-5)
    assert keeps_apart(model, [before[0], last], CPU)


def test_a_model_that_mixes_examples_is_noticed() -> None:
    loaded = build("bloom")
    loaded.model.train()
    assert not keeps_apart(loaded.model, EXAMPLES, CPU)
    assert loaded.model.training


def test_frozen_layers_are_known_by_example() -> None:
    loaded = build("llama")
    settings = MethodsConfig.model_validate({"last-layers": {"layers": 1}})
    model = method_for("last-layers", settings).prepare(loaded).train()
    expected = gradients(model, PADDED)
    prefix = FrozenPrefix(model, list(model.model.layers)[:1])
    with prefix.in_place():
        first, again = gradients(model, PACKED), gradients(model, PACKED)
    assert prefix.kept_bytes == sum(len(one.input_ids) for one in EXAMPLES) * 32 * 4
    for parameter, value in expected.items():
        torch.testing.assert_close(first[parameter], value, rtol=1e-5, atol=1e-6)
        assert torch.equal(first[parameter], again[parameter])


def losses(run: Any) -> list[float]:
    return [line["loss"] for line in read_lines(run.metrics)]


def test_a_packed_training_is_the_same_training(small_tune: Any) -> None:
    settings = {"batch_size": 4, "micro_batch_tokens": 512}
    (padded, packed) = (
        small_tune(run=str(packing), train=settings | {"packing": packing})[2]
        for packing in (False, True)
    )
    assert losses(packed) == pytest.approx(losses(padded), rel=1e-5)
    assert losses(packed) != losses(padded)


@pytest.mark.parametrize(
    ("model", "method"),
    [("tiny_t5", "lora"), ("tiny_llama", "prompt-tuning"), ("tiny_llama", "prefix-tuning")],
)
def test_rows_that_must_stay_apart_are_refused(model: str, method: str, small_tune: Any) -> None:
    with pytest.raises(UsageError, match="cannot pack examples") as caught:
        small_tune(model, method, train={"packing": True})
    assert caught.value.where == "train.packing"


def test_packing_is_refused_where_examples_would_mix(
    small_tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions that are not passed on, as by a model that knows none."""
    real = Packed.batch

    def without_positions(self: Packed, examples: Any) -> Any:
        batch = real(self, examples)
        batch.inputs.pop("position_ids", None)
        return batch

    monkeypatch.setattr(Packed, "batch", without_positions)
    with pytest.raises(UsageError, match="cannot separate packed examples") as caught:
        small_tune(train={"packing": True})
    assert caught.value.where == "train.packing"


Pays = Callable[..., bool]


@pytest.fixture
def pays() -> Pays:
    """On a GPU: ``pays(lengths, width=4096)``."""
    usual = {"on_cpu": False, "tokens": 2048, "width": 4096, "max_padding": 0.1}
    return lambda lengths, **changes: packing_pays([lengths], **usual | changes)


def test_packing_pays_where_padding_would_cost_more(pays: Pays) -> None:
    mixed, alike = [100, 200, 400, 800], [512] * 16
    assert pays(mixed)
    assert not pays(alike)
    assert not pays(mixed, on_cpu=True)
    assert not pays(mixed, max_padding=0.9)
    # A narrow model spends its time in attention.
    assert not pays(mixed, width=256)


def test_one_example_is_a_row_as_always() -> None:
    one = EXAMPLES[0]
    packed, padded = (dataclasses.asdict(each.batch([one])) for each in (PACKED, PADDED))
    assert packed["inputs"].keys() == padded["inputs"].keys() == {"input_ids"}
    assert all(torch.equal(packed[key], padded[key]) for key in ("rows_K", "columns_K"))
