"""Functions from ``config.json`` to an `Architecture`, one for each model family.

Values missing from a configuration get transformers' defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from luthier.core.errors import DataError
from luthier.core.names import did_you_mean
from luthier.planning.architecture import Architecture
from luthier.planning.families.gpt import gpt2, gpt_neox, opt, phi
from luthier.planning.families.llama import gemma, llama, mixture, olmo2, phi3, starcoder2
from luthier.planning.families.settings import Settings
from luthier.planning.families.t5 import t5

FAMILIES: Mapping[str, Callable[[str, Settings], Architecture]] = {
    "llama": llama,
    "mistral": llama,
    "granite": llama,
    "smollm3": llama,
    "qwen2": llama,
    "qwen3": llama,
    "phi3": phi3,
    "olmo2": olmo2,
    "starcoder2": starcoder2,
    "mixtral": mixture,
    "qwen2_moe": mixture,
    "qwen3_moe": mixture,
    "gemma": gemma,
    "gemma2": gemma,
    "gemma3": gemma,
    "gemma3_text": gemma,
    "phi": phi,
    "gpt2": gpt2,
    "gpt_neox": gpt_neox,
    "opt": opt,
    "t5": t5,
    "mt5": t5,
}

_TIED = "tie_word_embeddings"

# Language models inside vision-language models that have their own model_type.
_INNER = {"qwen2_vl_text": "qwen2", "qwen2_5_vl_text": "qwen2", "qwen3_vl_text": "qwen3"}

# Sizes that published configurations omit because transformers has them as defaults.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "gemma3_text": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 262_208,
        "max_position_embeddings": 131_072,
    },
    "smollm3": {"tie_word_embeddings": True},
    "mt5": {"feed_forward_proj": "gated-gelu"},
}


def read_architecture(config: Mapping[str, Any], where: str = "config.json") -> Architecture:
    """The architecture described by a ``config.json``.

    For a multimodal configuration, the language model (``text_config``) is read.

    Raises:
        DataError: the ``model_type`` is unknown, or a value is missing or invalid.
    """
    text = config.get("text_config")
    values = {**config, **text} if isinstance(text, Mapping) else dict(config)
    if isinstance(text, Mapping) and isinstance(config.get(_TIED), bool):
        values[_TIED] = config[_TIED]  # the output layer is outside the language model
    family = values.get("model_type")
    family = _INNER.get(family, family) if isinstance(family, str) else family
    if not isinstance(family, str) or family not in FAMILIES:
        raise _unknown(family, where)
    return FAMILIES[family](family, Settings({**_DEFAULTS.get(family, {}), **values}, where))


def _unknown(family: object, where: str) -> DataError:
    place = f'{where}, field "model_type"'
    known = f"known: {', '.join(sorted(FAMILIES))}"
    if not isinstance(family, str):
        problem = "is missing" if family is None else f"is {family!r}"
        return DataError(f"model_type {problem}", where=place, fix=f"set model_type; {known}")
    return DataError(
        f"the planner does not know the architecture {family!r}",
        where=place,
        fix=f"{did_you_mean(family, FAMILIES)} {known}".strip(),
    )
