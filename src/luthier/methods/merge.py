"""Merging an adapter into the weights of its base model, and proving that nothing changed."""

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
    """A merged model, and how far it is from the unmerged one.

    Attributes:
        loaded: the model, without an adapter.
        difference: the largest difference of a logit, as a share of the largest logit.
        tolerance: what rounding explains: half of the digits of the model's type, since a weight
            and its update are rounded together, layer after layer. With an int8 base, half of 8
            bits': it rounds activations too.
        positions: how many were compared.
    """

    loaded: LoadedModel
    difference: float
    tolerance: float
    positions: int


def merge(loaded: LoadedModel, probes: Sequence[Sequence[int]]) -> Merged:
    """Put an adapter's update into the weights; quantised ones become plain ones before.

    Args:
        loaded: a base model with an adapter; it is taken.
        probes: token sequences on which both must agree.

    Raises:
        UsageError: there is no adapter, or it adds tokens or layers that no weight can hold.
        DataError: merged and unmerged differ by more than rounding, or a weight is no number.
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
        except ValueError as error:  # weights that are no numbers, or of formats without a sum
            raise DataError(
                f"the adapter cannot be merged: {error}",
                where=loaded.stamp.id,
                fix="keep the adapter apart, or get it again: its weights may be damaged",
            ) from error
    merged = dataclasses.replace(loaded, model=model)
    after = _logits(merged, probes)
    largest = max(float(logits.abs().max()) for logits in before)
    pairs = list(zip(before, after, strict=True))
    difference = max(float((one - other).abs().max()) for one, other in pairs) / largest
    if not difference <= tolerance:  # not a number is no agreement
        raise DataError(
            f"the merged model's logits differ by {difference:.2g} of the largest one, and "
            f"rounding explains {tolerance:.2g}",
            where=loaded.stamp.id,
            fix="keep the adapter apart"
            + ("" if before_is_precise else ", or merge in float32 (model.dtype=float32)"),
        )
    return Merged(merged, difference, tolerance, sum(len(logits) for logits in before))


def require_mergeable(method: MethodName) -> None:
    """Refuse a method whose result cannot be merged, before anything is loaded.

    Raises:
        UsageError: it saves whole models, or adds what no weight of the base could hold.
    """
    facts = FACTS[method]
    if not facts.mergeable:
        raise _is_whole() if facts.trains_base else _cannot_hold(method)


def _is_whole() -> UsageError:
    return UsageError(
        "there is no adapter to merge: this is a whole model already",
        fix="use the run's model folder as it is",
    )


def _cannot_hold(name: str) -> UsageError:
    return UsageError(
        f"{name} cannot be merged: no weight of the base model could hold what it adds",
        fix="keep the adapter apart; only updates of weights, such as lora's, can be merged",
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
            "the adapter changes one end of a model whose input and output embeddings are one "
            "tensor, so merging would change both",
            where=loaded.stamp.id,
            fix="keep the adapter apart",
        )


def _precision(model: Any) -> float:
    """The relative size of what rounding loses."""
    base = model.get_base_model()
    if getattr(base, "is_loaded_in_8bit", False):
        return 1 / 127
    return float(torch.finfo(base.dtype).eps)


def _beside_plain_weights(model: Any) -> Any:
    """The adapter beside the dequantised base; what it was beside is taken.

    Merged into quantised weights it would be rounded to 4 bits with them.
    """
    import peft

    settings, state = model.active_peft_config, peft.get_peft_model_state_dict(model)
    base = model.unload()
    plain = peft.get_peft_model(dequantise(base, base.dtype), settings)
    peft.set_peft_model_state_dict(plain, state)
    return plain.eval()


@torch.inference_mode()
def _logits(loaded: LoadedModel, probes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Of each probe, ``[tokens, vocabulary]``, in float32 on the CPU."""
    found = []
    for ids in probes:
        ids_1T = torch.tensor([list(ids)], device=loaded.device)
        inputs = {"input_ids": ids_1T}
        if loaded.is_encoder_decoder:
            inputs["decoder_input_ids"] = ids_1T
        found.append(loaded.model(**inputs).logits[0].float().cpu())
    return found
