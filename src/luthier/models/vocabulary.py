"""Agreement of tokenizer and embedding, and resizing of embeddings."""

from __future__ import annotations

from typing import Any

import torch

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.core.errors import DataError

_SEED = 0
_LISTED = 5
# Placeholder tokens that a processor inserts for images or sounds; no text contains them.
_PLACEHOLDERS = ("image_token", "video_token", "audio_token")


def embedding_rows(settings: Any) -> int | None:
    """The number of embedding rows in a transformers configuration; None if not given."""
    text = settings.get_text_config()
    rows = getattr(text, "vocab_size", None)
    return rows if isinstance(rows, int) and not isinstance(rows, bool) else None


def rows_needed(tokenizer: Any) -> int:
    """The number of embedding rows needed so that every text token has one.

    Ids may have gaps, so it is not the number of tokens. Placeholders of images and sounds do not
    count: text-only models are published with tokenizers that have them, without rows for them.
    """
    return max(_text_tokens(tokenizer).values(), default=-1) + 1


def check_vocabulary(
    tokenizer: Any, settings: Any, config: ModelConfig, console: Console, where: str
) -> int | None:
    """Check that each token has a row in the embedding, or will get one.

    Args:
        tokenizer: the model's tokenizer.
        settings: the transformers configuration.
        config: whether rows may be added.
        console: receives a warning about added rows.
        where: the model's folder, for errors.

    Returns:
        The number of rows after loading; None: there are enough. More rows than tokens are common
        and left unchanged.

    Raises:
        DataError: tokens have no row, and none may be added.
    """
    rows, needed = embedding_rows(settings), rows_needed(tokenizer)
    _require_padding_row(settings, rows, where)
    if rows is None or needed <= rows:
        return None
    without = _names_from(tokenizer, rows)
    if not config.resize_embeddings:
        raise DataError(
            f"the tokenizer has token ids up to {needed - 1}, but the model's embedding has {rows} "
            f"rows: {without} have no row",
            where=where,
            fix="add rows with model.resize_embeddings=true and train them, "
            "or use the tokenizer that belongs to these weights",
        )
    console.warn(
        f"{needed - rows} rows are added to the embedding of {rows}, for {without}: they start "
        "near the mean of the others and are meaningless until trained. The method full trains "
        "them; an adapter does so only if told to train token rows"
    )
    return needed


def _require_padding_row(settings: Any, rows: int | None, where: str) -> None:
    """Reject a padding id without an embedding row, for which torch cannot create an embedding.

    Raises:
        DataError: there is no row. −1 stands for the last row.
    """
    padding = getattr(settings.get_text_config(), "pad_token_id", None)
    if rows is not None and isinstance(padding, int) and not -rows <= padding < rows:
        raise DataError(
            f"the padding token has id {padding}, but the model's embedding has {rows} rows",
            where=f'{where}/config.json, field "pad_token_id"',
            fix="remove the field; padding is masked",
        )


def resize_embeddings(model: Any, rows: int) -> None:
    """Resize a model's input and output embeddings to ``rows`` rows.

    The new rows are drawn around the mean of the others (Hewitt 2021, "Initializing New Word
    Embeddings for Pretrained Language Models"), the same ones each time, because an adapter trained
    with them is later loaded with regenerated rows.
    """
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        model.resize_token_embeddings(rows, mean_resizing=True)


def _text_tokens(tokenizer: Any) -> dict[str, int]:
    stand_ins = {str(getattr(tokenizer, name, None)) for name in _PLACEHOLDERS}
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return {token: id_ for token, id_ in vocabulary.items() if token not in stand_ins}


def _names_from(tokenizer: Any, first: int) -> str:
    """The tokens from an id on, in order."""
    found = sorted((id_, token) for token, id_ in _text_tokens(tokenizer).items() if id_ >= first)
    names = ", ".join(repr(token) for _, token in found[:_LISTED])
    return names + (f" and {len(found) - _LISTED} more" if len(found) > _LISTED else "")
