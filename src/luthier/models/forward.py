"""Forward passes with logits only where they are needed.

A vocabulary is much wider than a hidden state, so logits at every position dominate the memory of a
small model. Every transformers model ends in an output layer; a hook selects the needed rows of its
input, which works for any architecture, with adapters and soft prompts.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from luthier.core.errors import DataError
from luthier.core.logit_rows import rows_at_once
from luthier.models.kinds import without_adapter


def decoder_start(model: Any) -> int:
    """The first token of the answers of an encoder-decoder model.

    Raises:
        DataError: its configuration does not define it.
    """
    token: int | None = getattr(model.config, "decoder_start_token_id", None)
    if token is None:
        raise DataError(
            "the model's configuration has no decoder_start_token_id",
            where='config.json, field "decoder_start_token_id"',
            fix="add it; for T5 it is 0, the padding token",
        )
    return token


def logits_at(model: Any, inputs: dict[str, Any], keep_BT: Tensor) -> Tensor:
    """Logits where ``keep_BT`` is true.

    Args:
        model: a transformers or peft model.
        inputs: keyword arguments of its forward.
        keep_BT: boolean, batch × time of the sequence seen by the output layer. Positions that the
            model prepends (virtual tokens of a soft prompt) are never kept.

    Returns:
        ``[number of true positions, vocabulary]``, row after row of the batch.
    """
    rows_K, columns_K = keep_BT.nonzero(as_tuple=True)
    return logits_at_indices(model, inputs, rows_K, columns_K - keep_BT.shape[1])


def logits_at_indices(
    model: Any,
    inputs: dict[str, Any],
    rows_K: Tensor,
    columns_K: Tensor,
    feed_forward: torch.nn.Module | None = None,
) -> Tensor:
    """Logits at given positions; unlike with a mask, their number is known without a device sync.

    Args:
        model: a transformers or peft model.
        inputs: keyword arguments of its forward.
        rows_K: rows of the batch.
        columns_K: positions counted from the end of the sequence, -1 the last, so that prepended
            virtual tokens of a soft prompt do not shift them.
        feed_forward: the last layer's (see `last_feed_forward`), computed only there.

    Returns:
        ``[K, vocabulary]``.
    """
    logits: Tensor = outputs_at_indices(model, inputs, rows_K, columns_K, feed_forward).logits
    return logits


def outputs_at_indices(
    model: Any,
    inputs: dict[str, Any],
    rows_K: Tensor,
    columns_K: Tensor,
    feed_forward: torch.nn.Module | None = None,
) -> Any:
    """The outputs of a forward pass, with logits at some positions; see `logits_at_indices`."""
    narrow = (
        _narrowed(feed_forward, rows_K, columns_K) if feed_forward is not None else nullcontext()
    )
    with narrow, selected_rows(model.get_output_embeddings(), rows_K, columns_K):
        return model(**inputs, return_dict=True)


def without_cache(model: Any) -> dict[str, Any]:
    """The forward arguments that disable the cache for later passes."""
    known = inspect.signature(without_adapter(model).forward).parameters
    return {"use_cache": False} if "use_cache" in known else {}


def last_feed_forward(model: Any) -> torch.nn.Module | None:
    """The likely feed-forward module of a decoder's last layer; None if not found.

    It is found by its usual names, so a caller should test that logits stay the same when it is
    narrowed.
    """
    found = [module for name, module in model.named_modules() if name.endswith(".mlp")]
    return found[-1] if found else None


@contextmanager
def _narrowed(part: torch.nn.Module, rows_K: Tensor, columns_K: Tensor) -> Iterator[None]:
    """Restrict a module to some positions; it returns zeros for the others."""
    shapes: list[torch.Size] = []

    def select(_part: torch.nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden_BTD, *rest = arguments
        shapes.append(hidden_BTD.shape)
        return (hidden_BTD[rows_K, columns_K][None], *rest)

    def spread(_part: torch.nn.Module, _arguments: Any, made_1KD: Tensor) -> Tensor:
        spread_BTD = made_1KD.new_zeros(shapes.pop())
        spread_BTD[rows_K, columns_K] = made_1KD[0]
        return spread_BTD

    handles = part.register_forward_pre_hook(select), part.register_forward_hook(spread)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def selected_rows(output: torch.nn.Module, rows_K: Tensor, columns_K: Tensor) -> Iterator[None]:
    """Restrict an output layer to some positions, as in `logits_at_indices`."""

    def hook(_module: torch.nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden_BTD, *rest = arguments
        return (hidden_BTD[rows_K, columns_K], *rest)

    handle = output.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def log_probabilities(
    logits_KV: Tensor, places_M: Tensor, tokens_M: Tensor
) -> tuple[Tensor, Tensor]:
    """The log-probability of some tokens, each at one of the positions of the logits.

    The softmax is in float32, whatever the dtype of the logits, computed some rows at a time.

    Returns:
        ``[M]`` in nats (float32), and ``[M]`` whether no token is more likely at its position.
    """
    on_cpu = logits_KV.device.type == "cpu"
    rows = rows_at_once(logits_KV.shape[1], len(logits_KV), on_cpu=on_cpu)
    sums_K = torch.cat([part.float().logsumexp(-1) for part in torch.split(logits_KV, rows)])
    chosen_M = logits_KV[places_M, tokens_M].float() - sums_K[places_M]
    return chosen_M, logits_KV.argmax(-1)[places_M] == tokens_M
