"""What the backward pass computes again changes memory and time, not gradients."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from tests.objectives import SUPERVISED
from torch.utils._python_dispatch import TorchDispatchMode

from luthier.config import MethodsConfig
from luthier.config.train import Checkpointing
from luthier.methods import method_for
from luthier.training.activation_checkpointing import checkpoint_activations

MODELS = ["tiny_llama", "tiny_gpt2", "tiny_t5"]
FUSED = "_scaled_dot_product_flash_attention_for_cpu"


class Operators(TorchDispatchMode):
    """Counts what runs."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func._overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def backward(load: Any, make_examples: Any, request: pytest.FixtureRequest) -> Any:
    """The gradients of a pass, and the operators that ran: ``backward("tiny_llama", "full")``."""

    def run(
        model: str,
        again: Checkpointing,
        method: Any = "full",
        *,
        dtype: torch.dtype = torch.float32,
        **settings: Any,
    ) -> Any:
        loaded = load(request.getfixturevalue(model))
        loaded.model.to(dtype)
        torch.manual_seed(0)
        methods = MethodsConfig.model_validate({method: settings})
        adapted = method_for(method, methods).prepare(loaded)
        examples = make_examples(loaded, 3)
        checkpoint_activations(adapted, again)
        adapted.train()
        with Operators() as operators:
            torch.manual_seed(1)
            SUPERVISED.summed_loss(adapted, examples, loaded.device).backward()
        trained = {n: p.grad for n, p in adapted.named_parameters() if p.grad is not None}
        return trained, operators.counts

    return run


@pytest.mark.parametrize("again", ["selective", "full"])
@pytest.mark.parametrize("model", MODELS)
def test_gradients_are_those_without(model: str, again: Checkpointing, backward: Any) -> None:
    """In double precision, where the order in which gradients are summed does not show."""
    double = {"dtype": torch.float64}
    (expected, _), (found, _) = backward(model, "none", **double), backward(model, again, **double)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_the_selective_kind_repeats_no_product(backward: Any) -> None:
    counts = {again: backward("tiny_llama", again)[1] for again in ("none", "selective", "full")}
    for operator in ("mm", FUSED):
        once = counts["none"][operator]
        assert counts["selective"][operator] == once < counts["full"][operator]
    assert counts["none"]["silu"] < counts["selective"]["silu"] == counts["full"]["silu"]


def test_layers_below_what_is_trained_are_not_computed_again(backward: Any) -> None:
    """Of two layers the last is trained, so its seven products at most are repeated."""
    none, full = (
        backward("tiny_llama", again, "last-layers", layers=1)[1] for again in ("none", "full")
    )
    assert 0 < full["mm"] - none["mm"] <= 7
