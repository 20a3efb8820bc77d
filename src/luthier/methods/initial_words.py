"""The words that a soft prompt or a prefix starts from."""

from __future__ import annotations

from typing import Any

from luthier.core.errors import UsageError
from luthier.models.load import LoadedModel


def initial_ids(loaded: LoadedModel, text: str | None, count: int, method: str) -> Any:
    """Tokens to start from: those of a text, repeated and cut, or tokens drawn at random.

    Lester et al. 2021 (figure 3b) and Li and Liang 2021 (section 7.4) both found that to start
    from real tokens is better than to start from random numbers.

    Args:
        loaded: the model and its tokenizer.
        text: the words; None: tokens drawn at random.
        count: how many tokens.
        method: the method that asks, for the message.

    Returns:
        int64, (count,), on the device of the model's embeddings.

    Raises:
        UsageError: the text has no tokens.
    """
    import torch

    embeddings = loaded.model.get_input_embeddings()
    device = embeddings.weight.device
    if text is None:
        return torch.randint(embeddings.num_embeddings, (count,)).to(device)
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise UsageError(
            f"the initial text of {method} has no tokens",
            where=f"methods.{method}.initial_text",
            fix="write some words, or leave it out",
        )
    repeats = -(-count // len(ids))
    return torch.tensor((ids * repeats)[:count], dtype=torch.long, device=device)
