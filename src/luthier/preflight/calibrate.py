"""Calibration: the speed of this machine at transformer operations, for time estimates."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import torch
from torch import Tensor

from luthier.core.console import Console
from luthier.models.device import has_fast_bfloat16
from luthier.planning.hardware import Calibration, machine_key, store_calibration

# (tokens, in, out) of products in small models.
_PRODUCTS = ((512, 576, 1536), (1024, 768, 768), (1024, 2048, 2048))
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_COPY_BYTES = 256 * 2**20
_SECONDS_EACH = 1.0
# Two measurements on an idle machine differ by less.
_TOLERATED = 0.15
_MOST_ROUNDS = 4
_TINY_LAYERS = 8


def calibrate(console: Console) -> Calibration:
    """Measure this machine, and store the result for later plans.

    An idle machine takes less than half a minute. Products are measured again until the two fastest
    measurements agree, since other programs slow a machine temporarily; a warning says if they
    never do.
    """
    console.say("measuring products in float32 and bfloat16 …")
    rounds = [_products()]
    console.say("measuring memory and small operations …")
    bandwidth, overhead = _bandwidth(), _layer_overhead()
    rounds.append(_products())
    while (doubt := _disagreement(rounds)) and len(rounds) < _MOST_ROUNDS:
        console.say("other programs use this machine; measuring products again …")
        rounds.append(_products())
    if doubt:
        console.warn(doubt)
    calibration = Calibration(
        flops={name: max(one[name] for one in rounds) for name in _DTYPES},
        bandwidth=bandwidth,
        overhead=overhead,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=machine_key(),
    )
    store_calibration(calibration)
    return calibration


def _products() -> dict[str, float]:
    """FLOP/s of products in each type."""
    return {name: _product_flops(dtype) for name, dtype in _DTYPES.items()}


def _disagreement(rounds: Sequence[Mapping[str, float]]) -> str:
    """A warning if the two fastest measurements of a peak disagree; otherwise empty."""
    apart = {}
    for name in rounds[0]:
        second, fastest = sorted(one[name] for one in rounds)[-2:]
        apart[name] = 1 - second / fastest
    worst = max(apart, key=lambda name: apart[name])
    if apart[worst] <= _TOLERATED:
        return ""
    return (
        f"the two fastest of {len(rounds)} measurements of {worst} differ by {apart[worst]:.0%}: "
        "other programs used this machine. The fastest one is stored; run 'luthier plan calibrate' "
        "again when it is idle"
    )


def _product_flops(dtype: torch.dtype) -> float:
    """FLOP/s of a layer's products: one forward and two in the backward pass."""
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

        seconds += min(_times(products))  # the fastest run is the least disturbed
        flops += 6.0 * tokens * inside * outside
    return flops / seconds


def _bandwidth() -> float:
    """Bytes per second that a copy reads and writes."""
    source = torch.ones(_COPY_BYTES // 4)
    target = torch.empty_like(source)
    return 2 * _COPY_BYTES / _seconds(lambda: target.copy_(source))


def _layer_overhead() -> float:
    """Seconds of the forward and backward pass of a layer with almost nothing to compute."""
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


def _seconds(work: Callable[[], object]) -> float:
    """The median time of ``work``."""
    return statistics.median(_times(work))


def _times(work: Callable[[], object]) -> list[float]:
    """The seconds of several runs of ``work``, after a warm-up."""
    work()
    times: list[float] = []
    end = time.perf_counter() + _SECONDS_EACH
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 200):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times
