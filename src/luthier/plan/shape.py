"""The sizes of a model, read from its files without loading it."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

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
        linears: (out, in) of each linear layer but the output layer, by module name.
    """

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    linears: Mapping[str, tuple[int, int]]

    def lora_parameters(
        self, rank: int, targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    ) -> int:
        """Parameters of LoRA: ``rank · (in + out)`` for each linear layer it adapts.

        Args:
            rank: the rank of the updates.
            targets: the last part, or more, of the names of the adapted modules.
        """
        adapted = (
            shape
            for name, shape in self.linears.items()
            if targets == "all-linear" or f".{name}".endswith(tuple(f".{t}" for t in targets))
        )
        return sum(rank * (rows + columns) for rows, columns in adapted)


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
        linears={
            name.removesuffix(".weight"): (shape[0], shape[1])
            for name, shape in counted.items()
            if len(shape) == 2 and not any(part in name for part in _NOT_ADAPTED)
        },
    )


def _header(path: Path) -> dict[str, list[int]]:
    """Tensor names and shapes (the safetensors format: u64 length, then JSON)."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > 100_000_000:
                raise ValueError("its header is too long")
            header = json.loads(file.read(length))
        return {
            name: list(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"
        }
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"this is not a safetensors file: {error}", where=str(path)) from None


def _first(config: dict[str, Any], *names: str, default: int | None = None) -> int:
    for name in names:
        if isinstance(value := config.get(name), int):
            return value
    if default is not None:
        return default
    raise DataError(f"config.json states none of {', '.join(names)}")
