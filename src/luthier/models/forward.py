"""Running a model forward with logits only where they are wanted.

A vocabulary is far wider than a hidden state, so logits at every position dominate the memory of
a small model. Every transformers model ends in an output layer; a hook selects the wanted rows of
its input, which works for any architecture, with adapters and with soft prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def logits_at(model: Any, inputs: dict[str, Any], keep_BT: Tensor) -> Tensor:
    """Logits where ``keep_BT`` is true.

    Args:
        model: a transformers or peft model.
        inputs: keyword arguments of its forward.
        keep_BT: boolean, batch × time of the sequence that the output layer sees. Positions that
            the model puts in front of it (virtual tokens of a soft prompt) are never kept.

    Returns:
        ``[number of true positions, vocabulary]``, row after row of the batch.
    """
    with _select(model, keep_BT):
        logits: Tensor = model(**inputs, return_dict=True).logits
    return logits


@contextmanager
def _select(model: Any, keep_BT: Tensor) -> Iterator[None]:
    def hook(_module: torch.nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden_BTD, *rest = arguments
        added = hidden_BTD.shape[1] - keep_BT.shape[1]
        keep = torch.nn.functional.pad(keep_BT, (added, 0), value=False) if added else keep_BT
        return (hidden_BTD[keep], *rest)

    handle = model.get_output_embeddings().register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()
