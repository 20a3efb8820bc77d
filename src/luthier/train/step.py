"""One optimizer step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from luthier.core.seeds import derive
from luthier.data.batches import micro_batches
from luthier.prompts.render import TrainingExample
from luthier.train.guards import require_finite
from luthier.train.job import TrainingJob
from luthier.train.loss import padded_length, summed_loss, trained_tokens
from luthier.train.weights import TrainedWeights


@dataclass(frozen=True, slots=True)
class StepResult:
    """Loss in nats per trained token, the gradient's norm before clipping, and token counts."""

    loss: float
    gradient_norm: float
    trained_tokens: int
    processed_tokens: int


def optimizer_step(
    job: TrainingJob,
    weights: TrainedWeights,
    optimizer: torch.optim.Optimizer,
    batch: Sequence[TrainingExample],
    step: int,
) -> StepResult:
    """Forward and backward over the micro-batches of ``batch``, then one update.

    Every micro-batch's loss is divided by the trained tokens of the whole batch before its
    backward pass, so the gradient does not depend on how the batch is cut.

    Raises:
        DivergedError: the loss or the gradient is not finite; no weight was changed.
    """
    torch.manual_seed(derive(job.seed, "step", step))  # dropout: the same after a resume
    device, model = job.loaded.device, job.loaded.model
    total_trained = sum(map(trained_tokens, batch))
    lengths = [padded_length(example) for example in batch]
    nats = torch.zeros((), dtype=torch.float64)
    for indices in micro_batches(
        lengths, tokens=job.train.micro_batch_tokens, max_padding=job.train.max_padding
    ):
        loss = summed_loss(model, [batch[i] for i in indices], device)
        (loss / total_trained).backward()  # type: ignore[no-untyped-call]
        nats += loss.detach().double().cpu()
    masters = list(weights.masters.values())
    norm = float(torch.nn.utils.clip_grad_norm_(masters, job.train.max_grad_norm))
    mean = float(nats) / total_trained
    require_finite(mean, norm, step, [example.id for example in batch])
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    weights.publish()
    return StepResult(mean, norm, total_trained, sum(lengths))
