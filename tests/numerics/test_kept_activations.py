"""What the planner's tape keeps for the backward pass is what autograd keeps, byte for byte.

Autograd hands every tensor that it keeps to a hook. A storage is counted once, however many views
of it are kept, and parameters and buffers are not counted: they are there anyway. Three things are
left out on both sides:

* the batch's own token numbers and positions, which are there whether a table is trained or not;
* the output layer and what follows it, because the loss of training does not use it in this way;
* tensors of a single number, such as Gemma's scale of the embedding.

Everything else is compared exactly: no tolerance. So is the number of trained parameters. What a
GPU's kernels keep is not seen here: the tape differs there where its `Pass` says ``on_cpu``.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from luthier.config.yaml import read_yaml
from luthier.core.choices import ADAPTER_PLACES
from luthier.methods.bottleneck import insert_adapters
from luthier.methods.bottleneck import places as places_of
from luthier.planning.families import read_architecture
from luthier.planning.method_cost import (
    Adapters,
    Full,
    Lora,
    Tuning,
    bitfit,
    layernorm,
    prompt_tuning,
)
from luthier.planning.step import Loss, step_cost
from luthier.planning.tape import Pass

pytestmark = pytest.mark.usefixtures("one_thread")

LONG = pytest.mark.long
BATCH, LENGTH, TARGET_LENGTH = 3, 40, 20
VIRTUAL_TOKENS = 5


@dataclass(frozen=True)
class Family:
    """A small model of a family, and the layers that LoRA adapts in it beside all linear ones."""

    values: dict[str, Any]
    targets: tuple[str, ...] = ("q_proj", "v_proj")


# The layers that LoRA adapts beside all linear ones.
TARGETS = {
    "phi3": ("qkv_proj",),
    "gpt2": ("c_attn",),
    "gpt_neox": ("query_key_value",),
    "t5": ("q", "v"),
    "mt5": ("q", "v"),
}
_SMALL = Path(__file__).parents[1] / "small_models.yaml"
FAMILIES = {
    name: Family(values, TARGETS.get(name.split()[0], ("q_proj", "v_proj")))
    for name, values in read_yaml(_SMALL).values.items()
}


@dataclass(frozen=True)
class Condition:
    """How the forward pass runs."""

    dtype: torch.dtype
    padded: bool = False
    attention: str = "sdpa"


CONDITIONS = [
    pytest.param(Condition(torch.float32), id="float32"),
    pytest.param(Condition(torch.bfloat16), id="bfloat16", marks=LONG),
    pytest.param(Condition(torch.bfloat16, padded=True), id="bfloat16-padded"),
    pytest.param(Condition(torch.bfloat16, attention="eager"), id="bfloat16-eager"),
    pytest.param(Condition(torch.float32, padded=True), id="float32-padded", marks=LONG),
    pytest.param(Condition(torch.float32, attention="eager"), id="float32-eager", marks=LONG),
    pytest.param(
        Condition(torch.bfloat16, padded=True, attention="eager"),
        id="bfloat16-padded-eager",
        marks=LONG,
    ),
]


@dataclass(frozen=True)
class Case:
    """A tuning method, as peft or torch applies it and as the planner describes it."""

    apply: Callable[[Any, Family], Any]
    tuning: Callable[[Family], Tuning]


def _lora(targets: Any, dropout: float = 0.0) -> Callable[[Any, Family], Any]:
    def apply(model: Any, family: Family) -> Any:
        chosen = targets(family)
        return peft.get_peft_model(
            model,
            peft.LoraConfig(
                task_type=_task(model),
                r=4,
                lora_dropout=dropout,
                target_modules=chosen if isinstance(chosen, str) else list(chosen),
            ),
        )

    return apply


def _task(model: Any) -> str:
    return "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"


def _prompt(model: Any, family: Family) -> Any:
    config = peft.PromptTuningConfig(
        task_type=_task(model), num_virtual_tokens=VIRTUAL_TOKENS, num_transformer_submodules=1
    )
    return peft.get_peft_model(model, config)


def _train(picked: Callable[[str], bool]) -> Callable[[Any, Family], Any]:
    def apply(model: Any, family: Family) -> Any:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(picked(name))
        return model

    return apply


def _is_norm(name: str) -> bool:
    parts = name.split(".")
    return any("norm" in part or part.startswith("ln_") for part in parts)


METHODS = {
    "full": Case(_train(lambda name: True), lambda family: Full()),
    "lora": Case(_lora(lambda family: "all-linear"), lambda family: Lora(rank=4)),
    "lora q,v with dropout": Case(
        _lora(lambda family: family.targets, 0.1),
        lambda family: Lora(rank=4, targets=family.targets, dropout=0.1),
    ),
    "prompt tuning": Case(_prompt, lambda family: prompt_tuning(VIRTUAL_TOKENS)),
    "bitfit": Case(_train(lambda name: name.endswith(".bias")), lambda family: bitfit()),
    "norms": Case(_train(_is_norm), lambda family: layernorm()),
}


@dataclass
class Kept:
    """Bytes of storages kept for the backward pass, by the module that kept them first."""

    layers: dict[str, int]
    shared: int
    outside: int

    @property
    def total(self) -> int:
        return sum(self.layers.values()) + self.shared + self.outside


class Recorder:
    """Notes what autograd keeps, and in which layer."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.place = "outside"
        self.sizes: dict[int, int] = {}
        self.places: dict[int, list[str]] = defaultdict(list)
        self.alive: list[Tensor] = []  # so that no storage's address is used again
        held = [*model.parameters(), *model.buffers()]
        self.own = {tensor.untyped_storage().data_ptr() for tensor in held}

    @contextmanager
    def recording(self) -> Iterator[None]:
        handles = []
        for name, module in self.model.named_modules():
            if self._is_layer(name):
                handles += self._follow(module, name)
            if name.endswith("relative_attention_bias"):
                handles += self._follow(module, "tables")
        handles += self._follow(self.model.get_output_embeddings(), "head", until_end=True)
        with torch.autograd.graph.saved_tensors_hooks(self._note, lambda tensor: tensor):
            yield
        for handle in handles:
            handle.remove()

    def kept(self) -> Kept:
        layers: Counter[str] = Counter()
        shared = 0
        for storage, places in self.places.items():
            if len(places) > 1 or places == ["tables"]:
                shared += self.sizes[storage]
            else:
                layers[places[0]] += self.sizes[storage]
        layers.pop("head", 0)
        outside = layers.pop("outside", 0)
        return Kept(dict(layers), shared, outside)

    def _is_layer(self, name: str) -> bool:
        *rest, last = name.split(".")
        lists = (f"{'.'.join(rest)}.").endswith((".layers.", ".h.", ".block."))
        return last.isdigit() and lists

    def _follow(self, module: Any, name: str, *, until_end: bool = False) -> list[Any]:
        before: list[str] = []

        def enter(*_: Any) -> None:
            before.append(self.place)
            self.place = name

        def leave(*_: Any) -> None:
            self.place = "head" if until_end else before.pop()

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        lookup = self.place == "outside" and not tensor.is_floating_point()
        if address not in self.own and tensor.numel() > 1 and not lookup:
            self.alive.append(tensor)
            self.sizes[address] = storage.nbytes()
            if self.place not in self.places[address]:
                self.places[address].append(self.place)
        return tensor


def build(family: Family, kind: str, condition: Condition) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **family.values)
    attention = "eager" if kind == "gemma2" else condition.attention  # soft caps are never fused
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    return auto.from_config(config, attn_implementation=attention).to(condition.dtype).train()


def batch_of(model: Any, *, padded: bool) -> dict[str, Tensor]:
    ids = torch.randint(3, 90, (BATCH, LENGTH))
    inputs = {"input_ids": ids}
    if padded:
        mask = torch.ones_like(ids)
        mask[0, -3:] = 0
        inputs["attention_mask"] = mask
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :TARGET_LENGTH]
    return inputs


def measured(model: Any, inputs: dict[str, Tensor]) -> Kept:
    recorder = Recorder(model)
    with recorder.recording():
        model(**inputs, use_cache=False)
    return recorder.kept()


# Peft makes soft prompts of the wrong width for a table that is projected.
IMPOSSIBLE = {("opt post-norm", "prompt tuning")}
PAIRS = [pair for pair in product(FAMILIES, METHODS) if pair not in IMPOSSIBLE]


@pytest.mark.sample(120)
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_the_tape_keeps_what_autograd_keeps(name: str, method: str, condition: Condition) -> None:
    compare(FAMILIES[name], name.split()[0], METHODS[method], condition)


@pytest.mark.sample(40)
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
@pytest.mark.parametrize("name", FAMILIES)
def test_bottleneck_adapters(name: str, placement: Any, condition: Condition) -> None:
    def apply(model: Any, family: Family) -> Any:
        insert_adapters(model, places_of(model, placement), 8)
        return model

    tuning = Adapters(targets=ADAPTER_PLACES[placement], bottleneck=8)
    # Nothing of the first layer's attention is kept, and what a single layer keeps counts as its:
    # there are two more of each kind.
    family = Family(FAMILIES[name].values | {"num_hidden_layers": 5})
    compare(family, name.split()[0], Case(apply, lambda _family: tuning), condition)


@pytest.mark.parametrize("method", ["full", "norms"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    "activation", ["gelu", "gelu_new", "gelu_fast", "quick_gelu", "gelu_pytorch_tanh", "silu"]
)
def test_activations_keep_what_autograd_keeps(
    activation: str, dtype: torch.dtype, method: str
) -> None:
    family = Family(FAMILIES["opt"].values | {"activation_function": activation})
    compare(family, "opt", METHODS[method], Condition(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("mixtral", ("w1", "w2", "w3")),
        ("mixtral", ("w2", "q_proj")),
        ("qwen3_moe", ("gate_proj", "up_proj", "down_proj")),
        ("qwen2_moe", ("gate_proj", "up_proj", "down_proj")),
    ],
)
def test_lora_on_named_parts_of_experts(
    name: str, targets: tuple[str, ...], dtype: torch.dtype
) -> None:
    case = Case(_lora(lambda family: targets), lambda family: Lora(rank=4, targets=targets))
    # Nothing of the first layer's attention is kept, and what a single layer keeps counts as its.
    family = Family(FAMILIES[name].values | {"num_hidden_layers": 3})
    compare(family, name, case, Condition(dtype))


def test_what_is_kept_depends_on_the_window() -> None:
    """The recorder would notice a layer that attends to fewer tokens than the planner thinks."""
    wide, narrow = (
        read_architecture(
            FAMILIES["mistral"].values | {"model_type": "mistral", "sliding_window": window}
        )
        for window in (LENGTH + 1, LENGTH)
    )
    size = Pass(BATCH, LENGTH)
    kept = [step_cost(a, Full(), size, predicted=1).kept for a in (wide, narrow)]
    assert kept[0] < kept[1]


def compare(family: Family, kind: str, case: Case, condition: Condition) -> None:
    model = build(family, kind, condition)
    config = model.config
    inputs = batch_of(model, padded=condition.padded)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's about tied tables
        model = case.apply(model, family)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    size = Pass(
        batch=BATCH,
        length=LENGTH,
        target_length=TARGET_LENGTH if config.is_encoder_decoder else 0,
        itemsize=condition.dtype.itemsize,
        fused_attention=condition.attention == "sdpa",
        padded=condition.padded,
        on_cpu=True,
    )
    architecture = read_architecture(config.to_dict())
    everywhere = Loss(everywhere=True)
    plan = step_cost(architecture, case.tuning(family), size, predicted=1, loss=everywhere)
    assert plan.trained_count == trained
    if trained:
        real = measured(model, inputs)
        kept = [layer.kept for layer, times in plan.layers for _ in range(times)]
        assert kept == list(real.layers.values())
        token_numbers = 8 * plan.tokens
        assert plan.kept + plan.shared - token_numbers == real.total


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2 no dropout", "mistral"])
def test_a_packed_row_keeps_what_one_row_with_a_mask_keeps(name: str, method: str) -> None:
    """So it is planned: a row as long as all its examples, and a mask."""
    family, case = FAMILIES[name], METHODS[method]
    model = case.apply(build(family, name.split()[0], Condition(torch.float32)), family)
    positions_1T = torch.arange(LENGTH).repeat(BATCH)[None]
    ids_1T = torch.randint(3, 90, positions_1T.shape)
    real = measured(model, {"input_ids": ids_1T, "position_ids": positions_1T})
    size = Pass(1, BATCH * LENGTH, itemsize=4, padded=True, on_cpu=True)
    architecture = read_architecture(model.config.to_dict())
    plan = step_cost(
        architecture, case.tuning(family), size, predicted=1, loss=Loss(everywhere=True)
    )
    kept = [layer.kept for layer, times in plan.layers for _ in range(times)]
    assert kept == list(real.layers.values())
