"""The initial tokens of a soft prompt or a prefix."""

from __future__ import annotations

from typing import Any

from luthier.core.errors import UsageError
from luthier.models.load import LoadedModel


def initial_ids(loaded: LoadedModel, text: str | None, count: int, method: str) -> Any:
    """Initial tokens: those of a text, repeated or truncated to fit, or random ones.

    Lester et al. 2021 (figure 3b) and Li and Liang 2021 (section 7.4) found that real tokens are a
    better start than random numbers.

    Args:
        loaded: the model and its tokenizer.
        text: the text; None: random tokens.
        count: number of tokens.
        method: the method's name, for the message.

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
            fix="give some words, or unset it",
        )
    repeats = -(-count // len(ids))
    return torch.tensor((ids * repeats)[:count], dtype=torch.long, device=device)
