"""Base models whose linear layers are stored in 4 or 8 bits, through bitsandbytes.

Each product dequantises its weight first, so this saves memory and costs time. Embeddings, norms
and the output layer stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch

from luthier.config import ModelConfig
from luthier.config.methods import Quantisation
from luthier.core.errors import DataError, UsageError

# What other tools' formats are decoded to plain weights with, by the name that a config gives.
_DECODED = {"fp8": "FineGrainedFP8Config", "mxfp4": "Mxfp4Config"}


def stored_as(config: ModelConfig, settings: Any, where: str) -> ModelConfig:
    """The configuration of a model whose weights may be stored quantised, as many are published.

    Args:
        config: how it is to be loaded.
        settings: its transformers config.
        where: the model's folder, for errors.

    Returns:
        The same, with the quantisation of the files where they have one of bitsandbytes.

    Raises:
        DataError: the weights are stored in a format that nothing here can train beside.
        UsageError: another quantisation is asked for.
    """
    found = stored_settings(settings)
    if not found or is_decoded(settings):
        return config
    if (method := found.get("quant_method")) != "bitsandbytes":
        raise DataError(
            f"the weights are stored quantised ({_named(method)}), which is not supported",
            where=f'{where}/config.json, field "quantization_config"',
            fix="choose the model's version with plain weights; model.quantisation=nf4 or the "
            "method qlora quantises it while it is loaded",
        )
    stored: Quantisation = "int8" if found.get("load_in_8bit") else "nf4"
    if config.quantisation not in (None, stored):
        raise UsageError(
            f"the weights are stored in {stored}, so they cannot be loaded in "
            f"{config.quantisation}",
            where="model.quantisation",
            fix=f"set it, or methods.qlora.quantisation, to {stored}, or choose the model's "
            "version with plain weights",
        )
    return config.model_copy(update={"quantisation": stored})


def stored_settings(settings: Any) -> Mapping[str, Any]:
    """How a transformers config says that the weights are stored; empty where they are plain."""
    found: Any = getattr(settings, "quantization_config", None)
    if hasattr(found, "to_dict"):
        found = found.to_dict()
    return found if isinstance(found, Mapping) else {}


def is_decoded(settings: Any) -> bool:
    """Whether weights are stored in a format that loading decodes to plain ones."""
    return stored_settings(settings).get("quant_method") in _DECODED


def _named(method: Any) -> str:
    return str(method) if method else "by a tool that does not name itself"


def loading_options(
    settings: Any, quantisation: Quantisation | None, dtype: torch.dtype
) -> dict[str, Any]:
    """What ``from_pretrained`` must be told of quantised weights.

    Args:
        settings: the model's transformers config; it may say that they are stored so.
        quantisation: in which they are to be in memory.
        dtype: in which products are computed.
    """
    import transformers

    found = stored_settings(settings)
    if (decoder := _DECODED.get(found.get("quant_method", ""))) is not None:
        options = {key: value for key, value in found.items() if key != "quant_method"}
        how = getattr(transformers, decoder)(**{**options, "dequantize": True})
        return {"quantization_config": how}
    return {} if found else quantisation_options(quantisation, dtype)


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
