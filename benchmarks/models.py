"""The models of the plan's matrix: the bundled one, and random ones of three architectures.

The random ones are made once, large enough that tensors and not the interpreter fill the memory.
Memory and time do not depend on the values of weights. The bundled model's tokenizer serves all.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.models.resolve import resolve_model

BUNDLED = "smollm2-135m-instruct"


@dataclass(frozen=True, slots=True)
class RandomModel:
    """A model with random weights.

    Attributes:
        kind: its ``model_type`` in transformers.
        settings: of its configuration.
        stored: the type of its weights on disk; loading converts where another one is wanted.
    """

    kind: str
    settings: Mapping[str, Any]
    stored: str = "float32"


_LLAMA = RandomModel(  # 67 M parameters, grouped-query attention
    "llama",
    {
        "vocab_size": 49152,
        "hidden_size": 640,
        "intermediate_size": 1792,
        "num_hidden_layers": 8,
        "num_attention_heads": 10,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    },
    stored="bfloat16",
)
_GPT2 = RandomModel(  # 72 M parameters, dropout
    "gpt2", {"vocab_size": 50257, "n_embd": 640, "n_layer": 8, "n_head": 10}
)
_T5 = RandomModel(  # 69 M parameters, encoder and decoder, dropout
    "t5",
    {
        "vocab_size": 49152,
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 2048,
        "num_layers": 6,
        "num_heads": 8,
        "decoder_start_token_id": 0,
    },
)
MODELS: Mapping[str, RandomModel | None] = {
    BUNDLED: None,
    "random-llama": _LLAMA,
    "random-gpt2": _GPT2,
    "random-t5": _T5,
}
# Those in which bitfit finds something to train.
WITH_BIASES = {"random-gpt2"}
ENCODER_DECODERS = {"random-t5"}


def model_folder(name: str, folder: Path, console: Console) -> Path:
    """Where the model's files are; a random model is made below ``folder`` when it is missing.

    Raises:
        DataError: the bundled model is not on this machine.
    """
    bundled = resolve_model(ModelConfig(id=BUNDLED), console).path
    model = MODELS[name]
    if model is None:
        return bundled
    target = folder / name
    if not target.is_dir():
        partial = folder / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        _make(model, bundled, partial)
        partial.rename(target)
    return target


def _make(model: RandomModel, tokenizer: Path, folder: Path) -> None:
    import torch
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        AutoTokenizer,
    )

    config = AutoConfig.for_model(model.kind, **model.settings)
    kinds: dict[bool, Callable[..., Any]] = {
        False: AutoModelForCausalLM.from_config,
        True: AutoModelForSeq2SeqLM.from_config,
    }
    torch.manual_seed(0)
    made = kinds[bool(config.is_encoder_decoder)](config)
    made.to(getattr(torch, model.stored)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
