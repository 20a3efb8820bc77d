"""A loss without all logits is the loss with all logits."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, Gemma2Config

from luthier.models import cross_entropy as module
from luthier.models.cross_entropy import summed_cross_entropy
from luthier.models.forward import logits_at_indices

ROWS_K = torch.tensor([0, 0, 1, 2, 2, 2, 1])
COLUMNS_K = torch.tensor([-2, -5, -1, -3, -4, -9, -7])
TARGETS_K = torch.tensor([5, 900, 17, 3, 44, 8, 5])
INPUTS = {"input_ids": torch.arange(3, 33).reshape(3, 10), "use_cache": False}


def directly(model: Any) -> torch.Tensor:
    logits_KV = logits_at_indices(model, INPUTS, ROWS_K, COLUMNS_K).float()
    return cross_entropy(logits_KV, TARGETS_K, reduction="sum")


def loss_and_gradients(model: Any, loss: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    (loss / 7).backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return float(loss.detach()), gradients


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
@pytest.mark.parametrize("trained", ["everything", "all but the output layer"])
def test_loss_and_gradients_do_not_depend_on_the_rows_at_once(
    rows: int, trained: str, load: Any, tiny_llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(tiny_llama).model.requires_grad_(True)
    model.get_output_embeddings().weight.requires_grad_(trained == "everything")
    monkeypatch.setattr(module, "rows_at_once", lambda *_args, **_options: rows)
    expected, slopes = loss_and_gradients(model, directly(model))
    loss, gradients = loss_and_gradients(
        model, summed_cross_entropy(model, INPUTS, ROWS_K, COLUMNS_K, TARGETS_K)
    )
    assert loss == pytest.approx(expected, rel=1e-6)
    assert gradients.keys() == slopes.keys()
    norm = float(torch.stack([slope.norm() for slope in slopes.values()]).norm())
    for name, gradient in gradients.items():
        assert float((gradient - slopes[name]).abs().max()) < 1e-6 * norm, name


def test_short_weights_have_gradients_of_their_own_type(load: Any, tiny_llama: Any) -> None:
    model = load(tiny_llama, "bfloat16").model.requires_grad_(True)
    expected, slopes = loss_and_gradients(model, directly(model))
    loss, gradients = loss_and_gradients(
        model, summed_cross_entropy(model, INPUTS, ROWS_K, COLUMNS_K, TARGETS_K)
    )
    assert loss == pytest.approx(expected, rel=1e-3)
    for name, gradient in gradients.items():
        assert gradient.dtype == torch.bfloat16
        torch.testing.assert_close(gradient, slopes[name], atol=2e-2, rtol=5e-2)


def test_a_model_that_caps_its_logits_is_asked_for_them() -> None:
    config = Gemma2Config(
        vocab_size=1000,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        final_logit_softcapping=0.5,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    expected, slopes = loss_and_gradients(model, directly(model))
    for _ in range(2):
        loss, gradients = loss_and_gradients(
            model, summed_cross_entropy(model, INPUTS, ROWS_K, COLUMNS_K, TARGETS_K)
        )
        assert loss == expected
        assert all(torch.equal(gradients[name], value) for name, value in slopes.items())


def test_the_output_layer_gives_logits_again_afterwards(load: Any, tiny_llama: Any) -> None:
    model = load(tiny_llama).model
    with torch.no_grad():
        summed_cross_entropy(model, INPUTS, ROWS_K, COLUMNS_K, TARGETS_K)
        vocabulary = model.config.vocab_size
        assert model(**INPUTS).logits.shape == (3, 10, vocabulary)
    with pytest.raises(IndexError), torch.no_grad():
        summed_cross_entropy(model, INPUTS, ROWS_K + 7, COLUMNS_K, TARGETS_K)
    assert model(**INPUTS).logits.shape == (3, 10, vocabulary)


def test_logits_never_exist_all_at_once(
    load: Any, tiny_llama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tensor as wide as the vocabulary is longer than the rows at once, and none has company."""
    from torch.utils._python_dispatch import TorchDispatchMode

    model = load(tiny_llama).model.requires_grad_(False)
    model.model.norm.weight.requires_grad_(True)
    monkeypatch.setattr(module, "rows_at_once", lambda *_args, **_options: 2)
    seen: set[tuple[int, ...]] = set()
    alive: WeakSet[torch.UntypedStorage] = WeakSet()
    most = 0
    logits_bytes = 2 * model.config.vocab_size * 4

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            nonlocal most
            made = func(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor):
                seen.add(tuple(made.shape))
                if made.untyped_storage().nbytes() == logits_bytes:
                    alive.add(made.untyped_storage())
                    most = max(most, len({one.data_ptr() for one in alive}))
            return made

    with Watch():
        summed_cross_entropy(model, INPUTS, ROWS_K, COLUMNS_K, TARGETS_K).backward()
    wide = {shape[0] for shape in seen if shape[1:] == (model.config.vocab_size,)}
    weight = model.config.hidden_size  # the output layer's own, transposed
    assert wide - {weight} == {1, 2}
    assert most == 1
