"""A model's ``generation_config.json``: what it demands of every answer, whatever the strategy."""

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
"""The fields that change greedy answers too, and the value of each that demands nothing."""
_SHOWN = 40
_FIX = "get the file again, or delete it"


def read_generation_config(folder: Path) -> dict[str, Any]:
    """The values of a model's ``generation_config.json``; empty where it has none.

    Raises:
        DataError: it is no JSON object, or has values in the place of transformers' own methods.
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
        raise DataError("this is no JSON object", where=str(path), fix=_FIX)
    for name in values:
        if name.startswith("__") or callable(getattr(GenerationConfig, name, None)):
            where = f'{path}, field "{name}"'
            raise DataError(f"{name} is no setting of answers", where=where, fix=_FIX)
    return values


def demands(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a generation config that change answers whatever the strategy is."""
    return {
        name: value
        for name, value in values.items()
        if name in NEUTRAL and value is not None and value != NEUTRAL[name] and value != []
    }


def tell_demands(folder: Path, console: Console) -> None:
    """Say once what a model's files demand of its answers: greedy ones are others then.

    A model without ``generation_config.json`` may have the fields in ``config.json``, as
    transformers reads them there.

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
