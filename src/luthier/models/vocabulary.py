"""Whether a tokenizer's tokens have rows in the model's embedding, and rows for those without."""

from __future__ import annotations

from typing import Any

import torch

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError

_SEED = 0
_LISTED = 5
# Tokens that a processor puts in an image's or a sound's place; no text holds them.
_PLACEHOLDERS = ("image_token", "video_token", "audio_token")


def embedding_rows(settings: Any) -> int | None:
    """Rows of the token embedding that a transformers config states; None: it states none."""
    text = settings.get_text_config()
    rows = getattr(text, "vocab_size", None)
    return rows if isinstance(rows, int) and not isinstance(rows, bool) else None


def rows_needed(tokenizer: Any) -> int:
    """Rows that an embedding must have so that every token of a text has one.

    Ids may have gaps, so it is not their number. The stand-ins of images and sounds do not count:
    a model that reads text only is published with tokenizers that have them, and no row for them.
    """
    return max(_text_tokens(tokenizer).values(), default=-1) + 1


def check_vocabulary(
    tokenizer: Any, settings: Any, config: ModelConfig, console: Console, where: str
) -> int | None:
    """Check that each token has a row of the embedding, or will have one.

    Args:
        tokenizer: the model's.
        settings: its transformers config.
        config: says whether rows may be added.
        console: says that they will be.
        where: the model's folder, for errors.

    Returns:
        The rows that the embedding is to be given when the model is loaded; None: it has enough.
        An embedding with more rows than there are tokens is usual, and left as it is.

    Raises:
        DataError: there are tokens without a row, and none may be added.
    """
    rows, needed = embedding_rows(settings), rows_needed(tokenizer)
    _require_padding_row(settings, rows, where)
    if rows is None or needed <= rows:
        return None
    without = _names_from(tokenizer, rows)
    if not config.resize_embeddings:
        raise DataError(
            f"the tokenizer has token ids up to {needed - 1}, and the model's embedding has {rows} "
            f"rows: {without} have no row",
            where=where,
            fix="add rows with model.resize_embeddings=true and train them, "
            "or use the tokenizer that belongs to these weights",
        )
    console.warn(
        f"{needed - rows} rows are added to the embedding of {rows}, for {without}: they start as "
        "the mean of the others and mean nothing before they are trained. The method full trains "
        "them; an adapter leaves them as they are unless it is told to train token rows"
    )
    return needed


def _require_padding_row(settings: Any, rows: int | None, where: str) -> None:
    """Refuse a padding id that the embedding has no row for; torch makes no embedding with it.

    Raises:
        DataError: it has none. −1 stands for the last row.
    """
    padding = getattr(settings.get_text_config(), "pad_token_id", None)
    if rows is not None and isinstance(padding, int) and not -rows <= padding < rows:
        raise DataError(
            f"the padding token has id {padding}, and the model's embedding has {rows} rows",
            where=f'{where}/config.json, field "pad_token_id"',
            fix="leave the field out; padding is masked here",
        )


def resize_embeddings(model: Any, rows: int) -> None:
    """Give a model's input and output embeddings so many rows.

    The new rows are drawn around the mean of the others (Hewitt 2021, "Initializing New Word
    Embeddings for Pretrained Language Models"), the same ones each time, since an adapter that was
    trained beside them is loaded beside rows that are made anew.
    """
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        model.resize_token_embeddings(rows, mean_resizing=True)


def _text_tokens(tokenizer: Any) -> dict[str, int]:
    stand_ins = {str(getattr(tokenizer, name, None)) for name in _PLACEHOLDERS}
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return {token: id_ for token, id_ in vocabulary.items() if token not in stand_ins}


def _names_from(tokenizer: Any, first: int) -> str:
    """The tokens from an id on, in their order."""
    found = sorted((id_, token) for token, id_ in _text_tokens(tokenizer).items() if id_ >= first)
    names = ", ".join(repr(token) for _, token in found[:_LISTED])
    return names + (f" and {len(found) - _LISTED} more" if len(found) > _LISTED else "")
