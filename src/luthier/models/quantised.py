"""Base models with linear layers in 4 or 8 bits, using bitsandbytes.

Weights are dequantised before each product, which saves memory and costs time. Embeddings, norms
and the output layer are not quantised.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch

from luthier.config import ModelConfig
from luthier.config.methods import Quantisation
from luthier.core.errors import DataError, UsageError

# Formats of other tools that transformers dequantises while loading, by their name in a config.
_DECODED = {"fp8": "FineGrainedFP8Config", "mxfp4": "Mxfp4Config"}


def stored_as(config: ModelConfig, settings: Any, where: str) -> ModelConfig:
    """The loading options, adjusted to weights that are stored quantised.

    Args:
        config: the loading options.
        settings: the transformers configuration.
        where: the model's folder, for errors.

    Returns:
        The same, with the quantisation of the files if they use bitsandbytes.

    Raises:
        DataError: the weights are stored in a format in which adapters cannot be trained.
        UsageError: another quantisation is requested.
    """
    found = stored_settings(settings)
    if not found or is_decoded(settings):
        return config
    if (method := found.get("quant_method")) != "bitsandbytes":
        raise DataError(
            f"the weights are stored quantised ({_named(method)}), which is not supported",
            where=f'{where}/config.json, field "quantization_config"',
            fix="choose an unquantised version of the model; model.quantisation=nf4 or the method "
            "qlora quantises it while loading",
        )
    stored: Quantisation = "int8" if found.get("load_in_8bit") else "nf4"
    if config.quantisation not in (None, stored):
        raise UsageError(
            f"the weights are stored in {stored} and cannot be loaded in {config.quantisation}",
            where="model.quantisation",
            fix=f"set it, or methods.qlora.quantisation, to {stored}, or choose an unquantised "
            "version of the model",
        )
    return config.model_copy(update={"quantisation": stored})


def stored_settings(settings: Any) -> Mapping[str, Any]:
    """The quantisation settings in a transformers configuration; empty for unquantised weights."""
    found: Any = getattr(settings, "quantization_config", None)
    if hasattr(found, "to_dict"):
        found = found.to_dict()
    return found if isinstance(found, Mapping) else {}


def is_decoded(settings: Any) -> bool:
    """Whether loading dequantises the stored weights."""
    return stored_settings(settings).get("quant_method") in _DECODED


def _named(method: Any) -> str:
    return str(method) if method else "by an unnamed tool"


def loading_options(
    settings: Any, quantisation: Quantisation | None, dtype: torch.dtype
) -> dict[str, Any]:
    """Arguments of ``from_pretrained`` for quantised weights.

    Args:
        settings: the transformers configuration; the weights may be stored quantised.
        quantisation: the quantisation in memory.
        dtype: the dtype of the products.
    """
    import transformers

    found = stored_settings(settings)
    if (decoder := _DECODED.get(found.get("quant_method", ""))) is not None:
        options = {key: value for key, value in found.items() if key != "quant_method"}
        how = getattr(transformers, decoder)(**{**options, "dequantize": True})
        return {"quantization_config": how}
    return {} if found else quantisation_options(quantisation, dtype)


def require_quantisation() -> None:
    """Check that bitsandbytes is installed.

    Raises:
        UsageError: it is not.
    """
    if find_spec("bitsandbytes") is None:
        raise UsageError(
            "a quantised base needs the package bitsandbytes",
            where="model.quantisation",
            fix="install it: pip install 'luthier[quantised]'",
        )


def quantisation_options(quantisation: Quantisation | None, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments of ``from_pretrained`` for quantising while loading.

    Args:
        quantisation: ``nf4``: 4-bit NormalFloat in blocks of 64 with double quantisation (Dettmers
            et al. 2023, arXiv 2305.14314, section 3); ``int8``: a scale per row (Dettmers et al.
            2022, arXiv 2208.07339).
        dtype: the dtype of the products.
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
    """Copy unquantised tensors out of their memory-mapped file.

    Memory-mapped weights keep the whole file mapped, including pages read for quantisation, so the
    process would look as large as the unquantised model.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu" and tensor.is_floating_point():
            tensor.data = tensor.data.clone()


def is_quantised(model: Any) -> bool:
    """Whether weights of a transformers or peft model are quantised."""
    return getattr(model, "quantization_method", None) is not None


def dequantise(model: Any, dtype: torch.dtype) -> Any:
    """The transformers model with its quantised weights dequantised, with their rounding."""
    return model.dequantize().to(dtype)


def parameter_count(model: Any) -> int:
    """The number of parameters, counting both 4-bit ones in a byte."""
    counts = {
        id(parameter): parameter.numel()
        if (state := _state(module, name)) is None
        # For a shard, only its module knows the original shape.
        else int(state.shape.numel())
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
    }
    return sum(counts.values())


def keep_trainable(model: Any) -> None:
    """Keep 4-bit layers in a state in which adapters on them can be trained.

    bitsandbytes attaches the quantisation state to the weight, where it is lost when another tensor
    replaces the weight; a layer without it asks its module. And where a CPU multiplies bfloat16, a
    pass in evaluation mode repacks weights into a form without gradients.
    """
    for module in model.modules():
        if (state := _state(module, "weight")) is not None:
            module.quant_state = state
            module.support_avx512bf16_for_cpu = False


def _state(module: torch.nn.Module, name: str) -> Any:
    """The quantisation state of a 4-bit weight; otherwise None."""
    if name != "weight":
        return None
    on_weight = getattr(getattr(module, name, None), "quant_state", None)
    return getattr(module, "quant_state", None) if on_weight is None else on_weight
