"""Cross-entropy from hidden states, without materialising all logits at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from luthier.core.logit_rows import rows_at_once
from luthier.models.forward import logits_at_indices, selected_rows

# Models that process their logits after the output layer, for example with a soft cap.
_not_plain: WeakSet[nn.Module] = WeakSet()


def summed_cross_entropy(
    model: Any,
    inputs: dict[str, Any],
    rows_K: Tensor,
    columns_K: Tensor,
    targets_K: Tensor,
    weights_K: Tensor | None = None,
) -> Tensor:
    """Nats summed over some positions of a batch; a scalar.

    Args:
        model: a transformers or peft model.
        inputs: keyword arguments of its forward.
        rows_K: rows of the batch.
        columns_K: positions counted from the end, as in `luthier.models.forward`.
        targets_K: the target token of each.
        weights_K: the weight of each position's nats (float32); None: one.
    """
    output = model.get_output_embeddings()
    if output not in _not_plain and type(output) is nn.Linear:
        with (
            selected_rows(output, rows_K, columns_K),
            _losing(output, targets_K, weights_K) as made,
        ):
            result: Tensor = model(**inputs, return_dict=True).logits
        if result is made[0]:
            return result.sum()
        _not_plain.add(output)
    logits_KV = logits_at_indices(model, inputs, rows_K, columns_K).float()
    if weights_K is None:
        return nn.functional.cross_entropy(logits_KV, targets_K, reduction="sum")
    return nn.functional.cross_entropy(logits_KV, targets_K, reduction="none") @ weights_K


@contextmanager
def _losing(
    output: nn.Linear, targets_K: Tensor, weights_K: Tensor | None
) -> Iterator[list[Tensor]]:
    """Make the output layer return losses instead of logits; the list receives them.

    The loss is computed inside the model's forward pass, where sharded weights are gathered.
    """
    made: list[Tensor] = []

    def forward(hidden_KD: Tensor) -> Tensor:
        on_cpu = hidden_KD.device.type == "cpu"
        size = rows_at_once(output.out_features, len(hidden_KD), on_cpu=on_cpu)
        apply: Callable[..., Tensor] = _ChunkedCrossEntropy.apply
        made.append(apply(hidden_KD, output.weight, output.bias, targets_K, weights_K, size))
        return made[0]

    output.forward = forward  # type: ignore[method-assign, assignment]
    try:
        yield made
    finally:
        del output.forward


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The sum of ``logsumexp(h·Wᵀ + b) - (h·Wᵀ + b)[target]`` over rows, some rows at a time.

    Each row may have a weight. It multiplies the row's gradient before rounding to the weights'
    dtype, so it can include a scale that keeps small gradients in the range of float16.

    The gradient of the logits, softmax minus one at the target, is used immediately: gradients of
    the inputs are computed in the forward pass and no logits are kept, as in Cut Your Losses
    (Wijmans et al. 2024, arXiv 2411.09009) and Liger (Hsu et al. 2024, 2410.10989). Softmax and
    sums are in float32, whatever the dtype of the weights.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_KD: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_K: Tensor,
        weights_K: Tensor | None,
        rows: int,
    ) -> Tensor:
        """See the class; ``[1, 1]`` in float32, like logits; a view would break hooks of FSDP."""
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        hidden = torch.empty_like(hidden_KD) if wants_hidden else None
        # Several parts are accumulated in float32; a single one needs no sum.
        dtype = torch.float32 if len(hidden_KD) > rows else weight_VD.dtype
        weight = torch.zeros_like(weight_VD, dtype=dtype) if wants_weight else None
        bias = weight_VD.new_zeros(len(weight_VD), dtype=torch.float32) if wants_bias else None
        total = torch.zeros((1, 1), dtype=torch.float32, device=hidden_KD.device)
        for start in range(0, len(hidden_KD), rows):
            part = slice(start, start + rows)
            targets = targets_K[part, None]
            logits = linear(hidden_KD[part], weight_VD, bias_V).float()
            logits -= logits.amax(1, keepdim=True)
            right = logits.gather(1, targets)
            sums = logits.exp_().sum(1, keepdim=True)
            nats = sums.log() - right
            weights = None if weights_K is None else weights_K[part, None]
            total += (nats if weights is None else nats * weights).sum()
            if not any(ctx.needs_input_grad):
                continue
            slope = logits.div_(sums).scatter_add_(1, targets, -torch.ones_like(right))
            if weights is not None:
                slope *= weights
            if bias is not None:
                bias += slope.sum(0)
            slope = slope.to(weight_VD.dtype)
            if hidden is not None:
                torch.mm(slope, weight_VD, out=hidden[part])
            if weight is not None and slope.dtype == weight.dtype:
                weight.addmm_(slope.T, hidden_KD[part])
            elif weight is not None:
                weight += slope.T @ hidden_KD[part]
            del logits, slope  # otherwise alive until the next part's are computed
        ctx.gradients = (hidden, weight, bias)
        ctx.types = (hidden_KD.dtype, weight_VD.dtype, bias_V.dtype if bias_V is not None else None)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        """The gradients computed in the forward pass, times the gradient of the sum."""
        slope = slopes[0].squeeze()
        scaled = [
            None if gradient is None else gradient.mul_(slope).to(dtype)
            for gradient, dtype in zip(ctx.gradients, ctx.types, strict=True)
        ]
        ctx.gradients = ()
        return *scaled, None, None, None
