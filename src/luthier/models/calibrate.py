"""How fast this machine is at what a transformer does, for the planner's estimates of time."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from luthier.core.console import Console
from luthier.models.allocator import keep_freed_memory
from luthier.models.device import has_fast_bfloat16
from luthier.plan import TrainingSetup, read_architecture
from luthier.plan.hardware import (
    Calibration,
    Cluster,
    Device,
    machine_key,
    measured_cpu,
    store_calibration,
)
from luthier.plan.memory import pass_cost
from luthier.plan.time import step_time
from luthier.plan.tunings import Full, layernorm

# (tokens, in, out) of products as small models have them.
_PRODUCTS = ((512, 576, 1536), (1024, 768, 768), (1024, 2048, 2048))
_COPY_BYTES = 256 * 2**20
_SECONDS_EACH = 1.0
_TINY_LAYERS = 8
# A model whose weights and activations are too many for caches, as a real one's are.
_SMALL = {
    "vocab_size": 16384,
    "hidden_size": 640,
    "intermediate_size": 1728,
    "num_hidden_layers": 4,
    "num_attention_heads": 10,
    "num_key_value_heads": 5,
}
_BATCHES = ((1, 128), (4, 128))


def calibrate(console: Console) -> Calibration:
    """Measure this machine in less than half a minute, and keep the result for later plans."""
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    flops = {}
    for name, dtype in dtypes.items():
        console.say(f"measuring products in {name} …")
        flops[name] = _product_flops(dtype)
    console.say("measuring memory and what runs between products …")
    keep_freed_memory()
    bandwidth, overhead = _bandwidth(), _layer_overhead()
    reached = _reached(measured_cpu(flops, bandwidth, overhead))
    calibration = Calibration(
        flops={name: value * reached for name, value in flops.items()},
        bandwidth=bandwidth,
        overhead=overhead,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=machine_key(),
    )
    store_calibration(calibration)
    return calibration


def _product_flops(dtype: torch.dtype) -> float:
    """FLOP/s of the products of a layer: forward, and the two of the backward pass."""
    sizes = (
        _PRODUCTS
        if dtype == torch.float32 or has_fast_bfloat16(torch.device("cpu"))
        else (_PRODUCTS[:1])
    )
    flops = seconds = 0.0
    for tokens, inside, outside in sizes:
        x = torch.randn(tokens, inside, dtype=dtype)
        weight = torch.randn(outside, inside, dtype=dtype)
        gradient = torch.randn(tokens, outside, dtype=dtype)

        def products(x: Tensor = x, weight: Tensor = weight, gradient: Tensor = gradient) -> None:
            x @ weight.T
            gradient @ weight
            gradient.T @ x

        seconds += _seconds(products)
        flops += 6.0 * tokens * inside * outside
    return flops / seconds


def _bandwidth() -> float:
    """Bytes a second that a copy reads and writes."""
    source = torch.ones(_COPY_BYTES // 4)
    target = torch.empty_like(source)
    return 2 * _COPY_BYTES / _seconds(lambda: target.copy_(source))


def _layer_overhead() -> float:
    """Seconds of the forward and backward pass of a layer that has next to nothing to compute."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=_TINY_LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config)
    ids = torch.ones(1, 8, dtype=torch.long)

    def step() -> None:
        model(input_ids=ids, use_cache=False).logits.sum().backward()

    return _seconds(step) / _TINY_LAYERS


def _reached(device: Device) -> float:
    """The share of its speed in products alone that a device reaches in training steps.

    Steps of a small model in which everything is trained, or norms alone, measured over planned.
    """
    model, planned, measured = _small_model(), 0.0, 0.0
    for tuning, batch in itertools.product((layernorm(), Full()), _BATCHES):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(isinstance(tuning, Full) or "norm" in name)
        measured += _seconds(_training_step(model, batch))
        rows, length = batch
        setup = TrainingSetup(
            tuning, batch=rows, length=length, predicted=rows * length, on_cpu=True
        )
        cost = pass_cost(read_architecture(model.config.to_dict(), "calibration"), setup)
        planned += step_time(setup, Cluster(device), cost).seconds
    return planned / measured


def _training_step(model: Any, batch: tuple[int, int]) -> Callable[[], None]:
    """A forward and backward pass and an update, on random tokens."""
    ids = torch.randint(0, _SMALL["vocab_size"], batch)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, fused=True)

    def step() -> None:
        logits_TV = model(input_ids=ids, use_cache=False).logits.flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits_TV, ids.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _small_model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**_SMALL)).train()


def _seconds(work: Callable[[], object]) -> float:
    """The median time of ``work``, after one run to warm up."""
    work()
    times: list[float] = []
    end = time.perf_counter() + _SECONDS_EACH
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 200):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
