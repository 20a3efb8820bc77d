"""The decision on packing: whether it pays, and whether the model separates packed examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from luthier.config import TrainConfig
from luthier.core.errors import UsageError
from luthier.data.batches import ExampleOrder
from luthier.methods import Method
from luthier.models.forward import logits_at_indices
from luthier.prompts.training_example import TrainingExample
from luthier.training.job import TrainingJob, can_be_packed
from luthier.training.layout import Packed, Padded
from luthier.training.objectives import Objective, Trainable

# Number of steps whose lengths are examined, and of positions compared per example.
_STEPS_SEEN = 200
_COMPARED = 32


def packing_pays(
    batches: Iterable[Sequence[int]],
    *,
    on_cpu: bool,
    tokens: int,
    width: int,
    max_padding: float,
) -> bool:
    """Whether packed micro-batches are expected to be faster than padded ones.

    On a CPU they never are: a pass of half the tokens takes half the time, so batches are split
    until they have hardly any padding. An accelerator needs large passes for good utilisation.
    There, packing pays if the largest allowed passes would have more padding than allowed, and more
    than packing costs: attention computes all T² scores of a row and masks those between examples.
    Besides the products with 12·D² weights per layer, of 24·D² FLOPs per token, scores and weighted
    sums take 4·T·D FLOPs per token (Kaplan et al. 2020, arXiv 2001.08361, table 1).

    Args:
        batches: the lengths of the examples of each step.
        on_cpu: whether the device is a CPU.
        tokens: tokens per micro-batch.
        width: the hidden width.
        max_padding: the allowed share of padding in a micro-batch.
    """
    if on_cpu:
        return False
    full, packed = Padded(max_padding=1.0), Packed()
    padded_tokens = real_tokens = 0
    masked_scores = 0
    for lengths in batches:
        for cut in full.cut(lengths, tokens):
            rows, row_length = full.shape([lengths[index] for index in cut])
            padded_tokens += rows * row_length
        for cut in packed.cut(lengths, tokens):
            inside = [lengths[index] for index in cut]
            real_tokens += sum(inside)
            masked_scores += sum(inside) ** 2 - sum(length**2 for length in inside)
    padding = 1 - real_tokens / padded_tokens
    attention = masked_scores / (6 * width * real_tokens)
    return padding > max_padding and padding > attention


def plans_packing(
    train: TrainConfig, batches: Iterable[Sequence[int]], *, on_cpu: bool, tokens: int, width: int
) -> bool:
    """Whether packing is enabled, or automatic and expected to pay; see `packing_pays`."""
    if train.packing != "auto":
        return train.packing
    return packing_pays(
        batches, on_cpu=on_cpu, tokens=tokens, width=width, max_padding=train.max_padding
    )


def choose_packing(job: TrainingJob, method: Method) -> bool:
    """Whether a training packs its micro-batches.

    Raises:
        UsageError: packing is enabled, but the model does not support it.
    """
    loaded, wanted = job.loaded, job.train.packing
    planned = can_be_packed(method, loaded) and plans_packing(
        job.train,
        lengths_by_step(job.objective, job.examples, job.order),
        on_cpu=loaded.device.type == "cpu",
        tokens=job.micro_batch_tokens,
        width=loaded.model.config.get_text_config().hidden_size,
    )
    sequences = job.objective.sequences(job.examples[:2])
    if not planned or keeps_apart(loaded.model, sequences, loaded.device):
        return planned
    if wanted == "auto":
        return False
    raise UsageError(
        f"{loaded.stamp.architecture} cannot separate packed examples",
        where="train.packing",
        fix="set it to auto",
    )


def lengths_by_step(
    objective: Objective[Any], examples: Sequence[Trainable], order: ExampleOrder
) -> Iterator[list[int]]:
    """The lengths of the examples in the first steps."""
    for step in range(min(order.steps_per_epoch, _STEPS_SEEN)):
        yield [objective.length(examples[index]) for index in order.step(step)]


@torch.no_grad()
def keeps_apart(model: Any, examples: Sequence[TrainingExample], device: torch.device) -> bool:
    """Whether packed examples give the same logits as separate ones, tested on two examples.

    Changing the tokens of the first example must leave the second one's logits bit-identical, and
    these must equal those of a separate row, up to the square root of the weights' precision.

    Args:
        model: a decoder-only transformers or peft model.
        examples: the first two are used.
        device: the device of the model.
    """
    first, second = (*examples, *examples)[:2]
    other = dataclasses.replace(first, input_ids=tuple(abs(token - 1) for token in first.input_ids))
    was_training = model.training
    model.eval()
    try:
        together_KV, replaced_KV, alone_KV = (
            _logits(model, row, len(second.input_ids), device)
            for row in ([first, second], [other, second], [second])
        )
    except (TypeError, ValueError):  # a model without position ids
        return False
    finally:
        model.train(was_training)
    if not torch.equal(together_KV, replaced_KV):
        return False
    tolerance = torch.finfo(alone_KV.dtype).eps ** 0.5 * float(alone_KV.abs().max())
    return bool((together_KV - alone_KV).abs().max() <= tolerance)


def _logits(
    model: Any, row: Sequence[TrainingExample], length: int, device: torch.device
) -> Tensor:
    """``[K, V]``: logits at the start of the last example of a packed row of ``length`` tokens."""
    packed = Packed().batch(row).inputs
    inputs = {name: value.to(device) for name, value in packed.items()} | {"use_cache": False}
    columns_K = torch.arange(min(length, _COMPARED), device=device) - length
    return logits_at_indices(model, inputs, torch.zeros_like(columns_K), columns_K)
