"""The transformers class for loading a model, or the reason why it is unsupported.

A vision-language model consists of a language model and a vision part. Only its language model is
used; the vision part is loaded and left unchanged.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from luthier.core.errors import DataError

# transformers' tables of other kinds of models, specific ones first.
_OTHERS = {
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES": "a speech recognition model",
    "MODEL_FOR_CTC_MAPPING_NAMES": "a speech recognition model",
    "MODEL_FOR_TEXT_TO_SPECTROGRAM_MAPPING_NAMES": "a text-to-speech model",
    "MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES": "a text-to-audio model",
    "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES": "an audio classification model",
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES": "an image classification model",
    "MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES": "an object detection model",
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES": "an encoder for masked language modelling",
    "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES": "a model that compares images "
    "with text",
    "MODEL_FOR_TIME_SERIES_PREDICTION_MAPPING_NAMES": "a time series model",
}

_BOTH_WAYS = "with bidirectional attention, which cannot learn to predict the next token"


def without_adapter(model: Any) -> Any:
    """The transformers model inside a peft model; other models unchanged."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def model_class(settings: Any, where: str) -> Any:
    """The transformers auto class that loads a text-to-text model.

    Args:
        settings: the model's transformers configuration.
        where: the model's folder, for errors.

    Raises:
        DataError: the model has another purpose, or its language model cannot be used alone.
    """
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoModelForSeq2SeqLM,
    )

    usual: Any = AutoModelForSeq2SeqLM if settings.is_encoder_decoder else AutoModelForCausalLM
    own, wrapper = class_in(usual, settings), class_in(AutoModelForImageTextToText, settings)
    if own is None and getattr(settings, "auto_map", None):
        return usual  # the model's own code, which the configuration permits
    if own is not None and settings.is_encoder_decoder:
        return usual
    if wrapper is None:
        if own is None or _is_multimodal(settings):
            raise _not_supported(settings, where, _in_words(settings))
        return usual
    # Such a configuration may also be that of the language model, saved separately.
    if own not in (None, wrapper) and own.__name__ in (settings.architectures or ()):
        return usual
    if is_wrapper(settings) or getattr(settings, "sub_configs", None):
        _require_language_model(settings, wrapper, where)
    return AutoModelForImageTextToText


def is_wrapper(settings: Any) -> bool:
    """Whether a configuration describes a language model with other parts around it."""
    if settings.is_encoder_decoder:
        return False
    return settings.get_text_config(decoder=True) is not settings


def frozen_pattern(model: Any) -> str | None:
    """A regular expression for the names of all modules that text does not pass through.

    Methods leave these unchanged: the vision part, the projector to the language model, and layers
    that attend to images only. It matches whole names, of modules or parameters.

    Args:
        model: a transformers model without an adapter.

    Returns:
        None if text passes through the whole model.
    """
    language = _language_names(model)
    if language is None:
        return None
    inside = "|".join(re.escape(name) for name in language)
    return rf"(?!({inside})(\.|$)).*" + "".join(
        rf"|{re.escape(name)}\..*" for name in _layers_for_images(model, language)
    )


def is_frozen(name: str, pattern: str | None) -> bool:
    """Whether `frozen_pattern` matches the name of a module or parameter."""
    return pattern is not None and re.fullmatch(pattern, name) is not None


def require_text(model: Any, where: str) -> None:
    """Check that a vision-language model can continue text without an image.

    Raises:
        DataError: it fails without an image, or a token's logits depend on later tokens.
    """
    import torch

    ids_BT = torch.tensor([[1, 1], [1, 0]], device=model.device)
    try:
        with torch.inference_mode():
            logits_BTV = model(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT)).logits
    except Exception as error:  # a model may fail anywhere on the missing image
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        kind = f"a vision-language model that cannot read text without images ({reason})"
        raise _not_supported(model.config, where, kind) from error
    if not torch.allclose(logits_BTV[0, 0], logits_BTV[1, 0], rtol=0.01, atol=0.01):
        raise _not_supported(model.config, where, f"a vision-language model {_BOTH_WAYS}")


def _language_names(model: Any) -> tuple[str, ...] | None:
    """The modules of a wrapper that text passes through: language model and output layer."""
    settings = getattr(model, "config", None)
    if settings is None or not is_wrapper(settings):
        return None
    modules = {id(module): name for name, module in model.named_modules()}
    parts = (model.get_decoder(), model.get_output_embeddings())
    found = (modules.get(id(part), "") for part in parts)
    names = tuple(dict.fromkeys(name for name in found if name))
    return names or None


def _layers_for_images(model: Any, language: tuple[str, ...]) -> list[str]:
    """Layers that are skipped without an image, such as Mllama's cross-attention."""
    text = model.config.get_text_config(decoder=True)
    numbers = getattr(text, "cross_attention_layers", None) or ()
    return [f"{language[0]}.layers.{number}" for number in numbers]


def class_in(auto: Any, settings: Any) -> Any:
    """The class that a transformers auto class maps a configuration to; None if there is none."""
    table = auto._model_mapping
    if type(settings) not in table:
        return None
    found = table[type(settings)]
    return found[0] if isinstance(found, tuple | list) else found


def _require_language_model(settings: Any, wrapper: Any, where: str) -> None:
    """Check, from the configuration and the class, that the language model can be used alone.

    Raises:
        DataError: it is an encoder-decoder, is not separate from the vision part, needs an image,
            or has bidirectional attention.
    """
    text, kind = settings.get_text_config(decoder=True), _in_words(settings)
    if settings.is_encoder_decoder or getattr(text, "is_encoder_decoder", False):
        raise _not_supported(settings, where, f"{kind} whose encoder reads images")
    if not is_wrapper(settings):
        raise _not_supported(settings, where, f"{kind} without a separate language model")
    if getattr(text, "use_bidirectional_attention", False):
        raise _not_supported(settings, where, f"{kind} {_BOTH_WAYS}")
    parameters = inspect.signature(wrapper.forward).parameters.values()
    needed = [
        one.name
        for one in parameters
        if one.default is one.empty
        and one.kind is one.POSITIONAL_OR_KEYWORD
        and one.name not in ("self", "input_ids")
    ]
    if needed:
        raise _not_supported(settings, where, f"{kind} that needs {needed[0]} in addition to text")


def _is_multimodal(settings: Any) -> bool:
    """Whether transformers lists a model as multimodal."""
    from transformers.models.auto import modeling_auto

    return settings.model_type in modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES


def _in_words(settings: Any) -> str:
    """The purpose of a model, in words."""
    from transformers.models.auto import modeling_auto

    kind = settings.model_type
    if kind in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return "a vision-language model"
    if _is_multimodal(settings):
        parts = " ".join(getattr(settings, "sub_configs", None) or ())
        hears = any(word in parts for word in ("audio", "speech", "encoder"))
        return "a multimodal model" if "vision" in parts or not hears else "an audio-language model"
    for table, words in _OTHERS.items():
        if kind in getattr(modeling_auto, table, {}):
            return words
    return "a model that does not generate text"


def _not_supported(settings: Any, where: str, kind: str) -> DataError:
    name = (settings.architectures or [settings.model_type])[0]
    return DataError(
        f"{name} is {kind}, which is not supported",
        where=where,
        fix="choose a causal or encoder-decoder language model, or a vision-language model whose "
        "language model works without images (LLaVA, Qwen-VL, Gemma 3 and similar)",
    )
