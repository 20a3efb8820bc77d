"""What the training loop is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from luthier.config import MethodConfig, RunConfig, TrainConfig
from luthier.core.errors import UsageError
from luthier.core.input_fingerprint import Inputs
from luthier.core.method_facts import MethodName
from luthier.core.seeds import derive
from luthier.data.batches import NO_REPLAY, BatchOrder, Replay
from luthier.distributed.parallelism import Parallelism, Replicated
from luthier.methods import Method, method_for
from luthier.methods.hooks import MethodHooks
from luthier.models.device import default_device, resolve_dtype
from luthier.models.load import LoadedModel, ModelHandle
from luthier.records.run_directory import RunDirectory
from luthier.training.layout import Layout, Packed, Padded
from luthier.training.objectives import Objective, Trainable
from luthier.training.schedule import total_steps

# Where nothing says how many fit.
USUAL_TOKENS = 2048


def _nothing_beside(_total_steps: int) -> MethodHooks:
    return MethodHooks()


@dataclass(frozen=True, slots=True)
class Limits:
    """What the machine allows; None where that is not known or not wanted.

    Attributes:
        memory: bytes that this process may come to use. A step on the longest examples is tried
            before the first one.
        micro_batch_tokens: tokens of a forward pass, padding included.
        tokens_per_second: what all devices would do at their peak. What is done, as a share of it,
            is the model FLOPs utilisation.
        compiling_pays: whether compiled layers save more time than it takes to compile them.
    """

    memory: int | None = None
    micro_batch_tokens: int | None = None
    tokens_per_second: float | None = None
    compiling_pays: bool = False


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training, complete.

    Attributes:
        loaded: a model that a method has prepared: what requires a gradient is trained.
        method_name: for the records.
        method: learning rate, weight decay, epochs.
        train: the loop's settings.
        objective: the loss, and the kind of example.
        examples: the tokenised training examples, and after them the general ones.
        validation: the tokenised validation examples; may be empty.
        seed: the seed of order and dropout.
        run: where metrics, events and checkpoints go.
        fingerprint: of everything that decides the result; a checkpoint of another is refused.
        inputs: what the fingerprint is made of, so that a difference can be named.
        parallelism: how processes share the work; by default there is one.
        limits: what the machine allows.
        companion: from the number of steps to what the method does beside the gradient.
        replay: how many of the examples are general, and their share of an epoch.
        watched: texts whose loss may not rise by more than ``train.guards.max_forgetting``.
        watched_loss: the base model's loss on them.
        packed: whether the examples of a micro-batch share one row.
    """

    loaded: LoadedModel
    method_name: str
    method: MethodConfig
    train: TrainConfig
    objective: Objective[Any]
    examples: tuple[Trainable, ...]
    validation: tuple[Trainable, ...]
    seed: int
    run: RunDirectory
    fingerprint: str
    inputs: Inputs = field(default_factory=dict)
    parallelism: Parallelism = field(default_factory=Replicated)
    limits: Limits = field(default_factory=Limits)
    companion: Callable[[int], MethodHooks] = _nothing_beside
    replay: Replay = NO_REPLAY
    watched: tuple[Trainable, ...] = ()
    watched_loss: float = 0.0
    packed: bool = False

    @property
    def order(self) -> BatchOrder:
        """Which examples make a step."""
        own = len(self.examples) - self.replay.num
        return BatchOrder(own, self.train.batch_size, self.seed, self.replay)

    @property
    def layout(self) -> Layout:
        """How the examples of a step lie in its forward passes."""
        return Packed() if self.packed else Padded(self.train.max_padding)

    @property
    def compiled(self) -> bool:
        """Whether the layers are compiled, as far as the settings and the plan say."""
        wanted = self.train.compile
        return self.limits.compiling_pays if wanted == "auto" else wanted

    @property
    def micro_batch_tokens(self) -> int:
        """Tokens of a forward pass."""
        configured = self.train.micro_batch_tokens
        usual = USUAL_TOKENS if configured == "auto" else configured
        return self.limits.micro_batch_tokens or usual

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return total_steps(self.order, self.train, self.method)

    @property
    def repeats(self) -> bool:
        """Whether examples come again, just as they were: noise makes them others."""
        noisy = self.train.neftune_alpha is not None
        return self.total_steps > self.order.steps_per_epoch and not noisy


def initial_model(base: LoadedModel, name: MethodName, config: RunConfig) -> tuple[Method, Any]:
    """The model with which a training starts: `prepare_model`, drawing from the run's own seed."""
    torch.manual_seed(derive(config.seed, "initialise", name))
    return prepare_model(base, name, config)


def prepare_model(base: LoadedModel, name: MethodName, config: RunConfig) -> tuple[Method, Any]:
    """The method called ``name``, and the model as it prepares it; ``base`` is changed.

    Raises:
        UsageError: the model has nothing for this method, or the loop's settings rule it out.
    """
    method = allowed_method(name, config, base)
    return method, method.prepare(base)


def allowed_method(name: MethodName, config: RunConfig, base: LoadedModel | ModelHandle) -> Method:
    """The method called ``name``, if the loop's settings do not rule it out.

    Raises:
        UsageError: they do.
    """
    method = method_for(name, config.methods)
    method.require_base(base.adapter)
    if config.train.activation_checkpointing != "none" and not method.facts.recomputable:
        raise UsageError(
            f"{name} keeps keys and values, which activation checkpointing would compute again",
            where="train.activation_checkpointing",
            fix="switch it off, or choose a method that adds no keys and values",
        )
    if not config.train.master_weights and _is_float16(config):
        raise UsageError(
            "float16 weights without float32 copies lose small updates, and nothing here rounds "
            "them at random",
            where="train.master_weights",
            fix="leave it on, or choose model.dtype=bfloat16",
        )
    if config.train.compile is True and config.methods.of(name).drops:
        raise UsageError(
            f"{name} with dropout trains otherwise in compiled layers than as they are written, "
            "by more than rounding",
            where="train.compile",
            fix=f"leave it at auto, or set methods.{name}.dropout=0",
        )
    if config.train.packing is True and not can_be_packed(method, base):
        raise UsageError(
            f"with {name} of this model examples need rows of their own: what goes before one, "
            "virtual tokens or an encoder's output, cannot stand inside a row",
            where="train.packing",
            fix="leave it at auto",
        )
    return method


def _is_float16(config: RunConfig) -> bool:
    return resolve_dtype(config.model.dtype, default_device()) == torch.float16


def can_be_packed(method: Method, base: LoadedModel | ModelHandle) -> bool:
    """Whether examples can share a row, as far as the kind of model and the method tell."""
    return method.facts.packable and not base.is_encoder_decoder
