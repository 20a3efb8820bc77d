"""Base models whose linear layers are stored in 4 or 8 bits, through bitsandbytes.

Each product dequantises its weight first, so this saves memory and costs time. Embeddings, norms
and the output layer stay as they are.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from luthier.config.methods import Quantisation
from luthier.core.errors import UsageError


def require_quantisation() -> None:
    """Refuse to quantise where bitsandbytes is missing.

    Raises:
        UsageError: it is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise UsageError(
            "a quantised base needs the package bitsandbytes",
            where="model.quantisation",
            fix="install it: pip install 'luthier[quantised]'",
        )


def quantisation_options(quantisation: Quantisation | None, dtype: torch.dtype) -> dict[str, Any]:
    """What ``from_pretrained`` must be told to quantise while it loads.

    Args:
        quantisation: ``nf4``: 4-bit NormalFloat in blocks of 64, whose constants are quantised
            again (Dettmers et al. 2023, arXiv 2305.14314, section 3); ``int8``: a scale a row
            (Dettmers et al. 2022, arXiv 2208.07339).
        dtype: in which products are computed.
    """
    if quantisation is None:
        return {}
    from transformers import BitsAndBytesConfig

    if quantisation == "int8":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    }


def detach_from_file(model: Any) -> None:
    """Copy what was not quantised out of the file that it was mapped from.

    Weights that a file maps keep the whole file mapped, and with it every page that was read to be
    quantised: the process would look as large as the model it was to save.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu" and tensor.is_floating_point():
            tensor.data = tensor.data.clone()


def is_quantised(model: Any) -> bool:
    """Whether weights of a transformers or peft model are quantised."""
    return getattr(model, "quantization_method", None) is not None


def dequantise(model: Any, dtype: torch.dtype) -> Any:
    """The transformers model with its quantised weights as plain ones, rounded as they are."""
    return model.dequantize().to(dtype)


def parameter_count(model: Any) -> int:
    """Numbers in all parameters; of two 4-bit ones that share a byte, both."""
    counts = {
        id(parameter): parameter.numel()
        if (state := _state(module, name)) is None
        # Of a weight that is a part of the whole, only its module knows what it was.
        else int(state.shape.numel())
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
    }
    return sum(counts.values())


def keep_trainable(model: Any) -> None:
    """Have 4-bit layers stay what adapters beside them can be trained with.

    bitsandbytes hangs what decodes a weight on the weight, where it is lost when another tensor
    takes the weight's place; a layer without it asks its module. And where a CPU multiplies
    bfloat16, one pass in evaluation mode packs weights anew, into what gives no gradients.
    """
    for module in model.modules():
        if (state := _state(module, "weight")) is not None:
            module.quant_state = state
            module.support_avx512bf16_for_cpu = False


def _state(module: torch.nn.Module, name: str) -> Any:
    """What decodes a 4-bit weight; None for all else."""
    if name != "weight":
        return None
    on_weight = getattr(getattr(module, name, None), "quant_state", None)
    return getattr(module, "quant_state", None) if on_weight is None else on_weight
