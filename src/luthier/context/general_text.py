"""General text, used to measure forgetting and to guard against it."""

from __future__ import annotations

from luthier.config import RunConfig
from luthier.context.run_context import MeasuredText, RunContext
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.method_facts import METHOD_NAMES
from luthier.data.general import general_texts
from luthier.data.replay import general_example
from luthier.models.load import ModelHandle
from luthier.prompts.training_example import TrainingExample


def measured_texts(
    config: RunConfig, handle: ModelHandle, console: Console
) -> tuple[MeasuredText, ...]:
    """General texts up to the configured number of tokens, each cut to the context window."""
    if config.evaluate.general_text is None:
        return ()
    texts: list[MeasuredText] = []
    left, room = config.evaluate.general_tokens, room_beside_methods(config, handle)
    for text, group in general_texts(config.evaluate.general_text, console):
        ids = handle.tokenizer(text)["input_ids"][: min(left, room)]
        if len(ids) > 1:
            texts.append(MeasuredText(tuple(ids), group))
        left -= len(ids)
        if left <= 1:
            break
    return tuple(texts)


def watched_texts(context: RunContext) -> tuple[TrainingExample, ...]:
    """The general texts that the forgetting guard watches; empty without the guard.

    Raises:
        UsageError: the guard is set, but there is no general text or no validation.
    """
    if context.config.train.guards.max_forgetting is None:
        return ()
    if not context.general_texts or not context.config.train.validates:
        raise UsageError(
            "what is forgotten is measured at validations, on general text",
            where="train.guards.max_forgetting",
            fix="set evaluate.general_text and train.num_validations, or leave the guard out",
        )
    handle = context.weights()
    encodes, end = handle.is_encoder_decoder, handle.tokenizer.eos_token_id
    return tuple(
        general_example(f"general-{number}", text.ids, end if encodes else None)
        for number, text in enumerate(context.general_texts, start=1)
    )


def room_beside_methods(config: RunConfig, handle: ModelHandle) -> int:
    """The context window in tokens beside the method that takes the most of it.

    All methods are measured on the same texts, so these must fit beside each method.
    """
    taken = max(config.methods.of(method).positions for method in METHOD_NAMES)
    return max(2, handle.context_window - taken)
