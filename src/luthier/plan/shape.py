"""The sizes of a model, read from its files without loading it."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from luthier.core.errors import DataError
from luthier.core.files import read_json

_NOT_ADAPTED = ("embed", "lm_head", "wte", "wpe", "shared", "relative_attention_bias")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a model.

    Attributes:
        parameters: all parameters, tied ones once.
        layers: transformer blocks (encoder and decoder together).
        hidden: width of the hidden state.
        intermediate: width inside the MLP.
        vocabulary: rows of the embedding.
        linear_shapes: (out, in) of each linear layer that LoRA's ``all-linear`` adapts.
    """

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    linear_shapes: tuple[tuple[int, int], ...]

    def lora_parameters(self, rank: int) -> int:
        """Parameters of LoRA on all linear layers: ``rank · (in + out)`` each."""
        return sum(rank * (rows + columns) for rows, columns in self.linear_shapes)


def read_shape(folder: Path) -> ModelShape:
    """Read ``config.json`` and the headers of the safetensors files; no tensor is read.

    Raises:
        DataError: a file is missing or damaged.
    """
    config = read_json(folder / "config.json")
    text: dict[str, Any] = {**config, **config.get("text_config", {})}
    shapes: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        shapes |= _header(path)
    tied = config.get("tie_word_embeddings", True)
    counted = {name: s for name, s in shapes.items() if not (tied and name.startswith("lm_head."))}
    layers = _first(text, "num_hidden_layers", "num_layers", "n_layer")
    hidden = _first(text, "hidden_size", "d_model", "n_embd")
    return ModelShape(
        parameters=sum(prod(shape) for shape in counted.values()),
        layers=layers
        + (text.get("num_decoder_layers") or layers if config.get("is_encoder_decoder") else 0),
        hidden=hidden,
        intermediate=_first(text, "intermediate_size", "d_ff", "n_inner", default=4 * hidden),
        vocabulary=_first(text, "vocab_size"),
        linear_shapes=tuple(
            (shape[0], shape[1])
            for name, shape in counted.items()
            if len(shape) == 2 and not any(part in name for part in _NOT_ADAPTED)
        ),
    )


def _header(path: Path) -> dict[str, list[int]]:
    """Tensor names and shapes (the safetensors format: u64 length, then JSON)."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > 100_000_000:
                raise ValueError("its header is too long")
            header = json.loads(file.read(length))
    except (OSError, struct.error, ValueError) as error:
        raise DataError(f"this is not a safetensors file: {error}", where=str(path)) from None
    header.pop("__metadata__", None)
    return {name: list(tensor["shape"]) for name, tensor in header.items()}


def _first(config: dict[str, Any], *names: str, default: int | None = None) -> int:
    for name in names:
        if isinstance(value := config.get(name), int):
            return value
    if default is not None:
        return default
    raise DataError(f"config.json states none of {', '.join(names)}")
