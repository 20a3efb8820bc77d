"""The complete input of the training loop."""

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
from luthier.data.batches import ExampleOrder
from luthier.data.mixture.order import Sources
from luthier.distributed.parallelism import Parallelism, Replicated
from luthier.methods import Method, method_for
from luthier.methods.hooks import MethodHooks
from luthier.models.device import default_device, resolve_dtype
from luthier.models.load import LoadedModel, ModelHandle
from luthier.records.run_directory import RunDirectory
from luthier.training.layout import Layout, Packed, Padded
from luthier.training.objectives import Objective, Trainable
from luthier.training.schedule import example_order, total_steps

# The default if no limit is known.
USUAL_TOKENS = 2048


def _nothing_beside(_total_steps: int) -> MethodHooks:
    return MethodHooks()


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the machine; None if unknown or unlimited.

    Attributes:
        memory: bytes available to this process. A step on the longest examples is tried before the
            first one.
        micro_batch_tokens: tokens per forward pass, padding included.
        tokens_per_second: throughput of all devices at their peak. The measured throughput relative
            to it is the model FLOPs utilisation.
        compiling_pays: whether compiled layers save more time than their compilation takes.
    """

    memory: int | None = None
    micro_batch_tokens: int | None = None
    tokens_per_second: float | None = None
    compiling_pays: bool = False


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A complete training.

    Attributes:
        loaded: a model prepared by a method; parameters that require a gradient are trained.
        method_name: its name in records.
        method: the method's settings, such as learning rate, weight decay and epochs.
        train: the settings of the loop.
        objective: the loss and the type of example.
        examples: the tokenised training examples, followed by the general ones.
        validation: the tokenised validation examples; may be empty.
        seed: the seed of order and dropout.
        run: the run directory for metrics, events and checkpoints.
        fingerprint: identifies everything that decides the result; other checkpoints are rejected.
        inputs: the values behind the fingerprint, to name differences.
        parallelism: the parallelism across processes; default: one process.
        limits: the limits of the machine.
        companion: from the number of steps to the method's hooks.
        sources: the sources of the examples, if they are drawn at rates.
        watched: texts whose loss may not rise by more than ``train.guards.max_forgetting``.
        watched_loss: the base model's loss on them.
        packed: whether micro-batches are packed into one row.
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
    sources: Sources | None = None
    watched: tuple[Trainable, ...] = ()
    watched_loss: float = 0.0
    packed: bool = False

    @property
    def order(self) -> ExampleOrder:
        """The assignment of examples to steps."""
        return example_order(self.train, len(self.examples), self.seed, self.sources)

    @property
    def layout(self) -> Layout:
        """The layout of examples in forward passes."""
        return Packed() if self.packed else Padded(self.train.max_padding)

    @property
    def compiled(self) -> bool:
        """Whether the layers are compiled, according to the settings and the plan."""
        wanted = self.train.compile
        return self.limits.compiling_pays if wanted == "auto" else wanted

    @property
    def micro_batch_tokens(self) -> int:
        """Tokens per forward pass."""
        configured = self.train.micro_batch_tokens
        usual = USUAL_TOKENS if configured == "auto" else configured
        return self.limits.micro_batch_tokens or usual

    @property
    def total_steps(self) -> int:
        """Total number of optimizer steps."""
        return total_steps(self.order, self.train, self.method)

    @property
    def repeats(self) -> bool:
        """Whether identical examples recur; with noise they differ."""
        noisy = self.train.neftune_alpha is not None
        return self.total_steps > self.order.steps_per_epoch and not noisy


def initial_model(base: LoadedModel, name: MethodName, config: RunConfig) -> tuple[Method, Any]:
    """The model at the start of a training: `prepare_model` with the run's seed."""
    torch.manual_seed(derive(config.seed, "initialise", name))
    return prepare_model(base, name, config)


def prepare_model(base: LoadedModel, name: MethodName, config: RunConfig) -> tuple[Method, Any]:
    """The method called ``name``, and the model prepared by it; ``base`` is modified.

    Raises:
        UsageError: the model has no parameters for this method, or the loop's settings exclude it.
    """
    method = allowed_method(name, config, base)
    return method, method.prepare(base)


def allowed_method(name: MethodName, config: RunConfig, base: LoadedModel | ModelHandle) -> Method:
    """The method called ``name``, if the loop's settings allow it.

    Raises:
        UsageError: they exclude it.
    """
    method = method_for(name, config.methods)
    method.require_base(base.adapter)
    if config.train.activation_checkpointing != "none" and not method.facts.recomputable:
        raise UsageError(
            f"{name} caches keys and values, which is incompatible with activation checkpointing",
            where="train.activation_checkpointing",
            fix="disable it, or choose a method that adds no keys and values",
        )
    if not config.train.master_weights and _is_float16(config):
        raise UsageError(
            "float16 weights without float32 master copies lose small updates, because stochastic "
            "rounding does not support float16",
            where="train.master_weights",
            fix="enable it, or choose model.dtype=bfloat16",
        )
    if config.train.compile is True and config.methods.of(name).drops:
        raise UsageError(
            f"compiled layers change the results of {name} with dropout by more than rounding",
            where="train.compile",
            fix=f"set it to auto, or set methods.{name}.dropout=0",
        )
    if config.train.packing is True and not can_be_packed(method, base):
        raise UsageError(
            f"{name} of this model cannot pack examples: virtual tokens or an encoder's output "
            "must precede each row",
            where="train.packing",
            fix="set it to auto",
        )
    return method


def _is_float16(config: RunConfig) -> bool:
    return resolve_dtype(config.model.dtype, default_device()) == torch.float16


def can_be_packed(method: Method, base: LoadedModel | ModelHandle) -> bool:
    """Whether examples can be packed, according to the kind of model and the method."""
    return method.facts.packable and not base.is_encoder_decoder
