"""One optimizer step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from luthier.core.errors import ResourceError
from luthier.core.seeds import derive
from luthier.methods.hooks import MethodHooks
from luthier.models.device import is_out_of_memory
from luthier.training.guards import Guards
from luthier.training.job import TrainingJob
from luthier.training.loss_scale import LossScaling
from luthier.training.neftune import noisy_embeddings
from luthier.training.objectives import Trainable
from luthier.training.objectives.base import weight_unit
from luthier.training.weights import TrainedWeights


@dataclass(frozen=True, slots=True)
class StepResult:
    """Loss per unit of the objective, gradient norm before clipping, and token counts.

    ``updated`` is False if the guards skipped the step or its float16 gradient overflowed
    (``overflowed``).
    """

    loss: float
    gradient_norm: float
    trained_tokens: int
    processed_tokens: int
    updated: bool = True
    overflowed: bool = False


def optimizer_step(
    job: TrainingJob,
    weights: TrainedWeights,
    optimizer: torch.optim.Optimizer,
    batch: Sequence[Trainable],
    step: int,
    guards: Guards | None = None,
    companion: MethodHooks | None = None,
    scaling: LossScaling | None = None,
) -> StepResult:
    """Forward and backward over the micro-batches of ``batch``, then one update.

    Each micro-batch's loss is divided by the weight of the whole batch before its backward pass, so
    the gradient does not depend on the split.

    Raises:
        DivergedError: a guard aborts; no weight was changed.
    """
    device, model, parallelism = job.loaded.device, job.loaded.model, job.parallelism
    objective, layout = job.objective, job.layout
    # Seed dropout: the same after a resume, different on every rank.
    rank = parallelism.processes.rank
    torch.manual_seed(derive(job.seed, "step", step, *([rank] if rank else [])))
    total_trained = sum(map(objective.trained_tokens, batch))
    unit = weight_unit(batch)
    total_weight = sum(objective.loss_weight(example) / unit for example in batch)
    scaling = scaling or LossScaling()
    factor, divisor = scaling.split(total_weight or 1)
    lengths = [objective.length(example) for example in batch]
    total = torch.zeros((), dtype=torch.float64)
    cuts = layout.cut(lengths, job.micro_batch_tokens)
    for share in parallelism.shares(cuts, lengths):
        examples = [batch[i] for i in share.indices]
        with noisy_embeddings(job, examples, step):
            loss = objective.summed_loss(model, examples, device, layout, factor / unit)
            loss = loss * share.counts
        (loss / divisor).backward()  # type: ignore[no-untyped-call]
        total += loss.detach().double().cpu() / factor
    # Gradients are summed over processes, but a penalty applies once per step.
    if companion and parallelism.processes.is_first:
        penalty = companion.penalty()
        if penalty is not None:
            (penalty * scaling.scale).backward()  # type: ignore[no-untyped-call]
    masters = list(weights.masters.values())
    parallelism.reduce(masters)
    scaling.unscale(masters)
    norm = float(
        parallelism.whole(torch.nn.utils.clip_grad_norm_(masters, job.train.max_grad_norm))
    )
    total = parallelism.processes.sum(total)
    mean = float(total) / total_weight if total_weight else float("nan")
    ids = [example.id for example in batch]
    fits = scaling.admit(step, mean, norm)
    admitted = fits and (guards is None or guards.admit(step, mean, norm, total_trained, ids))
    if admitted:
        held = [parallelism.held(master) for master in masters]
        before = guards.sample(held) if guards else []
        # Seed stochastic rounding: the same on every rank, so that the copies stay equal.
        torch.manual_seed(derive(job.seed, "update", step))
        with _undivided():
            optimizer.step()
            if companion:
                companion.after_update(step + 1)
        if guards:
            guards.compare(before, [parallelism.held(master) for master in masters], step)
    optimizer.zero_grad(set_to_none=True)
    weights.sync_to_model()
    return StepResult(mean, norm, total_trained, sum(lengths), admitted, not fits)


@contextmanager
def _undivided() -> Iterator[None]:
    """Report memory running out in an update, which cannot be repeated after changing some weights.

    Raises:
        ResourceError: memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            "memory ran out in the update of the weights",
            fix="choose train.optimizer=adamw-8bit or sgd, or a method that trains fewer "
            "parameters; 'luthier plan' shows what fits",
        ) from error
