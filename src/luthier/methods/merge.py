"""Merging an adapter into its base model, with a check that the logits agree."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from luthier.core.errors import DataError, UsageError
from luthier.core.method_facts import FACTS, MethodName
from luthier.methods.adapted import is_adapter
from luthier.models.load import LoadedModel
from luthier.models.quantised import dequantise, is_quantised
from luthier.models.quiet_transformers import quiet_transformers


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged model, and its difference from the unmerged one.

    Attributes:
        loaded: the model without an adapter.
        difference: the largest difference of logits, relative to the largest logit.
        tolerance: the difference explained by rounding: half of the digits of the model's dtype,
            since a weight and its update are rounded together in each layer. With an int8 base,
            half of 8 bits, because it rounds activations too.
        positions: number of positions compared.
    """

    loaded: LoadedModel
    difference: float
    tolerance: float
    positions: int


def merge(loaded: LoadedModel, probes: Sequence[Sequence[int]]) -> Merged:
    """The merged model; quantised weights are dequantised first.

    Args:
        loaded: a base model with an adapter; it is consumed.
        probes: token sequences for comparing the logits.

    Raises:
        UsageError: there is no adapter, or it adds tokens or layers that cannot be merged.
        DataError: the logits differ by more than rounding, or a weight is not finite.
    """
    _require_mergeable(loaded)
    before_is_precise = loaded.model.get_base_model().dtype == torch.float32
    before = _logits(loaded, probes)
    tolerance = math.sqrt(_precision(loaded.model))
    with quiet_transformers():
        if is_quantised(loaded.model.get_base_model()):
            loaded = dataclasses.replace(loaded, model=_beside_plain_weights(loaded.model))
        try:
            model = loaded.model.merge_and_unload(safe_merge=True).eval()
        except ValueError as error:  # weights that are not finite, or of formats without addition
            raise DataError(
                f"the adapter cannot be merged: {error}",
                where=loaded.stamp.id,
                fix="keep the adapter separate, or download it again in case it is damaged",
            ) from error
    merged = dataclasses.replace(loaded, model=model)
    after = _logits(merged, probes)
    largest = max(float(logits.abs().max()) for logits in before)
    pairs = list(zip(before, after, strict=True))
    difference = max(float((one - other).abs().max()) for one, other in pairs) / largest
    if not difference <= tolerance:  # also true for NaN
        raise DataError(
            f"the merged model's logits differ by {difference:.2g} of the largest one, but "
            f"rounding explains only {tolerance:.2g}",
            where=loaded.stamp.id,
            fix="keep the adapter separate"
            + ("" if before_is_precise else ", or merge in float32 (model.dtype=float32)"),
        )
    return Merged(merged, difference, tolerance, sum(len(logits) for logits in before))


def require_mergeable(method: MethodName) -> None:
    """Reject a method whose result cannot be merged, before anything is loaded.

    Raises:
        UsageError: it saves full models, or adds parameters that have no place in the base weights.
    """
    facts = FACTS[method]
    if not facts.mergeable:
        raise _is_whole() if facts.trains_base else _cannot_hold(method)


def _is_whole() -> UsageError:
    return UsageError(
        "there is no adapter to merge: this is already a full model",
        fix="use the run's model folder as it is",
    )


def _cannot_hold(name: str) -> UsageError:
    return UsageError(
        f"{name} cannot be merged: its parameters have no place in the base weights",
        fix="keep the adapter separate; only updates of weights, such as lora's, can be merged",
    )


def _require_mergeable(loaded: LoadedModel) -> None:
    if not is_adapter(loaded):
        raise _is_whole()
    settings = getattr(loaded.model, "active_peft_config", None)
    if settings is None or settings.is_prompt_learning:
        raise _cannot_hold(settings.peft_type.value if settings else "a network of its own")
    base = loaded.model.get_base_model()
    ends = (base.get_input_embeddings(), base.get_output_embeddings())
    if base.config.tie_word_embeddings and any(hasattr(end, "base_layer") for end in ends):
        raise UsageError(
            "input and output embeddings are tied, but the adapter changes only one of them, "
            "so merging would change both",
            where=loaded.stamp.id,
            fix="keep the adapter separate",
        )


def _precision(model: Any) -> float:
    """The relative rounding error."""
    base = model.get_base_model()
    if getattr(base, "is_loaded_in_8bit", False):
        return 1 / 127
    return float(torch.finfo(base.dtype).eps)


def _beside_plain_weights(model: Any) -> Any:
    """The adapter on the dequantised base; the quantised model is consumed.

    Merged into quantised weights, it would be rounded to 4 bits.
    """
    import peft

    settings, state = model.active_peft_config, peft.get_peft_model_state_dict(model)
    base = model.unload()
    plain = peft.get_peft_model(dequantise(base, base.dtype), settings)
    peft.set_peft_model_state_dict(plain, state)
    return plain.eval()


@torch.inference_mode()
def _logits(loaded: LoadedModel, probes: Sequence[Sequence[int]]) -> list[Tensor]:
    """``[tokens, vocabulary]`` for each probe, in float32 on the CPU."""
    found = []
    for ids in probes:
        ids_1T = torch.tensor([list(ids)], device=loaded.device)
        inputs = {"input_ids": ids_1T}
        if loaded.is_encoder_decoder:
            inputs["decoder_input_ids"] = ids_1T
        found.append(loaded.model(**inputs).logits[0].float().cpu())
    return found
