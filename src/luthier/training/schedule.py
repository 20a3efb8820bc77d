"""Batch size, number of steps, the steps with validations, and the learning rate by step."""

from __future__ import annotations

import math
from collections.abc import Callable

from luthier.config import MethodConfig, TrainConfig
from luthier.data.batches import BatchOrder, ExampleOrder
from luthier.data.mixture.draws import DrawOrder
from luthier.data.mixture.order import MixtureOrder, Sources

_DECAYS: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1 - progress,
    "constant": lambda _progress: 1.0,
}

# A few hundred examples in one epoch of batches of 16 are a dozen updates, too few for any method
# to learn a task (lab/LOG.md). Smaller batches make more updates of the same examples.
_ENOUGH_STEPS = 100
_BATCH_SIZES = (2, 16)
_MOST_EPOCHS = 3.0


def batch_size(config: TrainConfig, num_examples: int) -> int:
    """Examples per optimizer step: ``train.batch_size``, or the one that suits so many examples."""
    if config.batch_size != "auto":
        return config.batch_size
    least, most = _BATCH_SIZES
    return min(max(num_examples // _ENOUGH_STEPS, least), most)


def example_order(
    config: TrainConfig, num_examples: int, seed: int, sources: Sources | None
) -> ExampleOrder:
    """The assignment of examples to steps.

    Args:
        config: the settings of the loop.
        num_examples: the number of training examples.
        seed: the seed of the order.
        sources: the sources of the examples, if they are drawn at rates; None: each epoch has all
            examples once.
    """
    if sources is None:
        return BatchOrder(num_examples, batch_size(config, num_examples), seed)
    draws = DrawOrder(sources.rates, sources.sizes, seed)
    size = batch_size(config, sources.num_draws)
    return MixtureOrder(draws, sources.num_draws, size, sources.may_repeat)


def planned_epochs(order: ExampleOrder, config: TrainConfig, method: MethodConfig) -> float:
    """Epochs of a training: its method's, or ``train.epochs``, or those that suit the examples."""
    epochs = method.epochs or config.epochs
    if epochs != "auto":
        return epochs
    if not order.may_repeat:
        return 1.0
    return min(max(_ENOUGH_STEPS / order.steps_per_epoch, 1.0), _MOST_EPOCHS)


def total_steps(order: ExampleOrder, config: TrainConfig, method: MethodConfig) -> int:
    """Total optimizer steps: ``train.max_steps``, or the steps of its epochs."""
    return config.max_steps or order.total_steps(planned_epochs(order, config, method))


def validation_steps(total_steps: int, config: TrainConfig) -> frozenset[int]:
    """The steps, counted from 1, after which a training validates, including the last.

    Either every ``validate_every_steps`` steps, or ``num_validations`` spread evenly.
    """
    if every := config.validate_every_steps:
        return frozenset((*range(every, total_steps, every), total_steps))
    count = config.num_validations
    return frozenset(max(1, round(total_steps * (i + 1) / count)) for i in range(count))


def learning_rate_factor(step: int, total_steps: int, config: TrainConfig) -> float:
    """The learning rate in step ``step`` (counted from 0), as a share of the peak.

    It rises linearly during the warm-up, whose last step has the peak, then decays to zero after
    the last step (cosine: Loshchilov & Hutter 2017, arXiv 1608.03983, eq. 5 without restarts).
    """
    warmup = round(config.warmup_fraction * total_steps)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(total_steps - warmup, 1)
    return _DECAYS[config.schedule](progress)
