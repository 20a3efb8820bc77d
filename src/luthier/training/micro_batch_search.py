"""Search for the largest micro-batch: tried before the first step, halved if memory runs out.

Splitting a step into forward passes changes memory and speed, but never the gradient, except for
dropout, which is drawn per pass. So the size found is stored, reused when a training is resumed,
and changed only when memory runs out.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from luthier.core.console import Console
from luthier.core.errors import ResourceError
from luthier.core.units import format_bytes
from luthier.models.device import PeakMemory, is_out_of_memory
from luthier.training.guards import Guards
from luthier.training.job import TrainingJob
from luthier.training.objectives import Trainable
from luthier.training.optimizer import make_optimizer
from luthier.training.step import optimizer_step

if TYPE_CHECKING:
    from luthier.training.state import TrainingState

_SMALLER = (
    "try a smaller data.max_length, train.activation_checkpointing=full, or a method that trains "
    "fewer parameters; 'luthier plan' shows what fits"
)


def fit_micro_batch(state: TrainingState, console: Console) -> None:
    """Try a step and a validation on the longest examples, halving micro-batches until they fit.

    The step has a learning rate of zero and is discarded, so the training starts as if it had not
    happened.

    Raises:
        ResourceError: not even the longest example fits on its own.
    """
    while not _fits(state, console):
        state.halve_micro_batch()
        tokens = state.job.micro_batch_tokens
        console.say(f"  out of memory; trying micro-batches of {tokens} tokens")


def halve_after(error: BaseException, state: TrainingState) -> int:
    """Halve micro-batches after memory ran out within a step; the step can be repeated.

    Returns:
        The new number of tokens per forward pass.

    Raises:
        ResourceError: there are several processes, or forward passes are single examples already.
    """
    state.optimizer.zero_grad(set_to_none=True)
    if (
        state.job.parallelism.processes.size > 1
    ):  # the other processes wait for this one in the middle of a step
        raise ResourceError("memory ran out", fix=_SMALLER) from error
    _empty_caches()
    state.halve_micro_batch()
    return state.job.micro_batch_tokens


def halved(job: TrainingJob) -> int:
    """Half the tokens per forward pass of ``job``.

    Raises:
        ResourceError: forward passes are single examples already.
    """
    lengths = [job.objective.length(example) for example in job.examples]
    longest = max(lengths)
    most = min(job.micro_batch_tokens, longest * min(len(lengths), job.order.batch_size))
    if most <= longest:
        raise ResourceError(
            f"a step on only the longest example ({longest} tokens) exceeds the memory",
            fix=_SMALLER,
        )
    return max(longest, most // 2)


def _fits(state: TrainingState, console: Console) -> bool:
    job, processes = state.job, state.job.parallelism.processes
    memory = PeakMemory(job.loaded.device)
    try:
        _try_step(state)
        fits = job.limits.memory is None or memory.read() <= job.limits.memory
    except (RuntimeError, MemoryError) as error:
        if processes.size > 1 or not is_out_of_memory(error):
            raise
        fits = False
    finally:
        state.optimizer.zero_grad(set_to_none=True)
        state.optimizer = make_optimizer(state.weights, job)
        _empty_caches()
    (any_lacks,) = processes.any(not fits)
    if not any_lacks:
        console.say(
            f"  micro-batches of {job.micro_batch_tokens} tokens take "
            f"{format_bytes(memory.read())} at the peak"
        )
    return not any_lacks


def _try_step(state: TrainingState) -> None:
    """Run forward, backward, update and validation at their largest sizes."""
    job = state.job
    skip = job.train.guards.model_copy(
        update={"non_finite": "skip", "max_skipped": 1, "max_skipped_in_row": 1}
    )
    job.loaded.model.train()
    for group in state.optimizer.param_groups:
        group["lr"] = 0.0
    batch = _longest(job, job.examples)
    guards = Guards(skip, job.parallelism.processes)
    optimizer_step(job, state.weights, state.optimizer, batch, 0, guards)
    if job.validation:
        job.objective.mean_loss(
            job.loaded.model,
            _longest(job, job.validation),
            job.loaded.device,
            job.micro_batch_tokens,
            job.parallelism,
        )


def _longest(job: TrainingJob, examples: Sequence[Trainable]) -> list[Trainable]:
    """The longest examples, as many as a step has."""
    longest = sorted(examples, key=job.objective.length, reverse=True)
    return longest[: job.order.batch_size]


def _empty_caches() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
