"""Rows of the embedding that are trained beside an adapter: those of tokens that are new."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from luthier.core.errors import UsageError
from luthier.models.load import LoadedModel


def token_rows(
    loaded: LoadedModel, tokens: Sequence[str | int], where: str
) -> list[int] | dict[str, list[int]] | None:
    """For peft's ``trainable_token_indices``: the rows of some tokens.

    Where the output layer has weights of its own, its rows are trained too: a token whose input
    alone is trained is read and never written. Tied weights are one tensor, which peft keeps so.

    Args:
        loaded: model and tokenizer.
        tokens: as the tokenizer writes them, or ids.
        where: the method's settings, as ``methods.lora``.

    Raises:
        UsageError: the tokenizer has no such token, or the embedding no row for it.
    """
    if not tokens:
        return None
    where = f"{where}.trainable_tokens"
    table, output = loaded.model.get_input_embeddings(), loaded.model.get_output_embeddings()
    ids = sorted({_id_of(loaded.tokenizer, token, where) for token in tokens})
    if ids[-1] >= table.num_embeddings:
        raise UsageError(
            f"the embedding has {table.num_embeddings} rows, and none for token {ids[-1]}",
            where=where,
            fix="add rows with model.resize_embeddings=true, and the token to the tokenizer",
        )
    if output is None or output.weight is table.weight or _are_tied(loaded.model):
        return ids
    names = {id(module): name for name, module in loaded.model.named_modules()}
    return {names[id(module)]: ids for module in (table, output)}


def _are_tied(model: Any) -> bool:
    return bool(model.config.get_text_config().tie_word_embeddings)


def _id_of(tokenizer: Any, token: str | int, where: str) -> int:
    """The id of a token that is given as text or as an id.

    Raises:
        UsageError: the tokenizer has none.
    """
    if isinstance(token, int):
        return token
    vocabulary = tokenizer.get_vocab()
    if token in vocabulary:
        return int(vocabulary[token])
    close = difflib.get_close_matches(token, vocabulary, n=3, cutoff=0.6)
    raise UsageError(
        f"the tokenizer has no token {token!r}",
        where=where,
        fix=(f"did you mean {' or '.join(map(repr, close))}? Or " if close else "")
        + "add it to the tokenizer beside the model, and set model.resize_embeddings=true",
    )
