"""Fingerprints of all inputs that determine the result of a training or an evaluation."""

from __future__ import annotations

from typing import Any

from luthier.config.train import FINGERPRINT_EXCLUDED
from luthier.context.general_text import watched_texts
from luthier.context.run_context import RunContext
from luthier.core.input_fingerprint import Inputs, inputs_fingerprint
from luthier.core.method_facts import MethodName
from luthier.core.seeds import fingerprint
from luthier.data.splits import SPLITS

_ALLOWS = {"trust_remote_code": False, "allow_pickle": False}
"""Permissions at their defaults. They may differ between calls, so fingerprints ignore them."""


def training_fingerprint(context: RunContext, method: MethodName) -> str:
    """The fingerprint of all inputs that determine the result of a training with ``method``."""
    return inputs_fingerprint(training_inputs(context, method))


def training_inputs(context: RunContext, method: MethodName) -> Inputs:
    """All inputs that determine the result of a training with ``method``, by name."""
    loop = context.config.train.model_dump(mode="json", exclude=set(FINGERPRINT_EXCLUDED))
    settings = context.config.methods.of(method).model_dump(mode="json")
    general = {
        "replay": fingerprint(*(str(example.input_ids) for example in context.replay)),
        "watched": fingerprint(*(str(example.input_ids) for example in watched_texts(context))),
    }
    inputs = {**_base_inputs(context), "train": loop, "method": method, "methods": settings}
    return {**inputs, "general": general, **_weights(context)}


def evaluation_fingerprint(context: RunContext) -> str:
    """The fingerprint of all inputs that determine an evaluation of the base model."""
    return inputs_fingerprint(evaluation_inputs(context))


def evaluation_inputs(context: RunContext) -> Inputs:
    """All inputs that determine an evaluation of the base model, by name."""
    values = context.config.evaluate.model_dump(mode="json", exclude={"batch_tokens", "abstain"})
    return {**_base_inputs(context), "evaluate": values}


def _base_inputs(context: RunContext) -> dict[str, Any]:
    """Data, prompts, model and seed: their settings, and the content that the settings refer to."""
    sections = context.config.model_dump(mode="json", include={"data", "prompt", "model", "seed"})
    del sections["model"]["endpoint"]  # the model's revision covers its relevant part
    sections["model"] |= _ALLOWS  # the code that they allow is part of the content
    content: dict[str, Any] = {
        name: {"examples": len(examples), "content": fingerprint(*(e.id for e in examples))}
        for name, examples in ((split, context.dataset.split(split)) for split in SPLITS)
    }
    content["template"] = context.template.hash
    content |= context.model.inputs(context.config.model)
    return {**sections, "content": content}


def _weights(context: RunContext) -> Inputs:
    """A fingerprint of the examples' weights, which ids do not cover; empty if all are 1."""
    examples = (*context.dataset.train, *context.dataset.validation)
    if all(example.weight == 1 for example in examples):
        return {}
    weights = (f"{example.id} {example.weight!r}" for example in examples)
    return {"weights": {"examples": fingerprint(*weights)}}
