"""NEFTune: noise on the embeddings of training examples.

Jain et al. 2023, "NEFTune: Noisy Embeddings Improve Instruction Finetuning" (arXiv 2310.05914),
section 2: uniform noise in [-1, 1] is scaled by α/√(L·D), with the length L of the example and the
embedding width D.

The noise depends on the seed, the step and the example only, so neither on the split into passes,
nor on processes, nor on interruptions. L counts the example's own tokens. In transformers and TRL
it includes padding, so the noise of an example depends on its neighbours in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from luthier.core.errors import UsageError
from luthier.core.seeds import derive
from luthier.training.job import TrainingJob
from luthier.training.objectives import Trainable


@contextmanager
def noisy_embeddings(job: TrainingJob, examples: Sequence[Trainable], step: int) -> Iterator[None]:
    """Add noise to embeddings in forward passes over ``examples`` in the block, if configured.

    The noise is added to the first embeddings of the pass: those of a decoder-only model, or of the
    encoder.

    Raises:
        UsageError: the model does not use the module that it declares as its input embeddings.
    """
    alpha = job.train.neftune_alpha
    if alpha is None:
        yield
        return
    made: list[Tensor] = []

    def add_noise(_table: Any, _arguments: Any, embedded_BTD: Tensor) -> Tensor | None:
        if made:
            return None
        made.append(_noise(job, examples, step, alpha, embedded_BTD))
        return embedded_BTD + made[0]

    handles = [table.register_forward_hook(add_noise) for table in _tables(job.loaded.model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if not made:
        raise UsageError(
            f"{job.loaded.stamp.architecture} has embeddings that NEFTune does not support",
            where="train.neftune_alpha",
            fix="unset it",
        )


def _tables(model: Any) -> list[Any]:
    """The input embeddings; the encoder's may be a separate module."""
    tables = [model.get_input_embeddings()]
    if model.config.is_encoder_decoder:
        tables.append(model.get_encoder().get_input_embeddings())
    return list({id(table): table for table in tables}.values())


def _noise(
    job: TrainingJob, examples: Sequence[Trainable], step: int, alpha: float, like_BTD: Tensor
) -> Tensor:
    """``[B, T, D]``: the noise of each example at its position, zeros on padding."""
    noise_BTD = torch.zeros_like(like_BTD, requires_grad=False)
    width, device = like_BTD.shape[-1], like_BTD.device
    sequences = job.objective.sequences(examples)
    lengths = [len(sequence.input_ids) for sequence in sequences]
    places = job.layout.starts(lengths)
    for sequence, length, (row, start) in zip(sequences, lengths, places, strict=True):
        generator = torch.Generator(device)
        generator.manual_seed(derive(job.seed, "neftune", step, sequence.id))
        drawn_LD = torch.rand(length, width, generator=generator, device=device)
        size = alpha / math.sqrt(length * width)
        noise_BTD[row, start : start + length] = (drawn_LD * 2 - 1) * size
    return noise_BTD
