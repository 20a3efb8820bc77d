"""A model's ``generation_config.json``: constraints on answers under any decoding strategy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.user_files import read_given_json
from luthier.models.settings_file import CONFIG, read_config

GENERATION = "generation_config.json"
NEUTRAL: Mapping[str, Any] = {
    **dict.fromkeys(("repetition_penalty", "encoder_repetition_penalty", "guidance_scale"), 1.0),
    **dict.fromkeys(("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), 0),
    **dict.fromkeys(("min_length", "min_new_tokens"), 0),
    **dict.fromkeys(("bad_words_ids", "suppress_tokens", "begin_suppress_tokens")),
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "sequence_bias")),
    **dict.fromkeys(("exponential_decay_length_penalty", "watermarking_config", "stop_strings")),
    **dict.fromkeys(("token_healing", "remove_invalid_values"), False),
}
"""Fields that also affect greedy answers, with their neutral values."""
_SHOWN = 40
_FIX = "download the file again, or delete it"


def read_generation_config(folder: Path) -> dict[str, Any]:
    """The values of a model's ``generation_config.json``; empty if there is none.

    Raises:
        DataError: it is not a JSON object, or would replace methods of transformers.
    """
    from transformers import GenerationConfig

    path = folder / GENERATION
    if not path.is_file():
        return {}
    try:
        values = read_given_json(path)
    except DataError as error:
        raise DataError(error.problem, where=error.where, fix=_FIX) from None
    if not isinstance(values, dict):
        raise DataError("this is not a JSON object", where=str(path), fix=_FIX)
    for name in values:
        if name.startswith("__") or callable(getattr(GenerationConfig, name, None)):
            where = f'{path}, field "{name}"'
            raise DataError(f"{name} is not a generation setting", where=where, fix=_FIX)
    return values


def demands(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a generation config that change answers under any strategy."""
    return {
        name: value
        for name, value in values.items()
        if name in NEUTRAL and value is not None and value != NEUTRAL[name] and value != []
    }


def tell_demands(folder: Path, console: Console) -> None:
    """Report once the constraints that change a model's answers, including greedy ones.

    Without ``generation_config.json``, the fields may be in ``config.json``, where transformers
    reads them too.

    Raises:
        DataError: see `read_generation_config`.
    """
    there = (folder / GENERATION).is_file()
    values = read_generation_config(folder)
    found = demands(values if there else read_config(folder))
    if found:
        console.warn_once(
            f"{GENERATION if there else CONFIG} of {folder.name} changes the model's answers, as "
            "it does in transformers: " + ", ".join(_named(*one) for one in found.items())
        )


def _named(name: str, value: Any) -> str:
    text = repr(value)
    return f"{name} = {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}"
