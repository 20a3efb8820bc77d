"""The memory of a training step, traced by running the real code on fake tensors.

It checks the planner's formulas independently. The model is built from its configuration, and
method, loss and optimizer step are those of the training loop. Only the tensors are fake
(`torch._subclasses.FakeTensorMode`): they have shapes and lifetimes, but no data.

The figures are those of tensors on a CPU. A CUDA device runs the same program with a few different
kernels: SDPA's flash kernel supports float16 and bfloat16 only, and masks need the memory-efficient
one, which reads a padded copy of the mask; both keep a log-sum-exp and the state of a random
generator; dropout keeps a mask of one byte per number, where the CPU keeps noise of the
activation's dtype. Its allocator rounds every tensor up to 512 bytes and reserves more than is
allocated, and cuBLAS takes a workspace of some MiB. None of this is counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from luthier.config import RunConfig
from luthier.core.errors import UsageError
from luthier.core.method_facts import MethodName
from luthier.models.device import resolve_dtype
from luthier.models.load import LoadedModel
from luthier.models.quiet_transformers import quiet_transformers
from luthier.prompts.training_example import TrainingExample
from luthier.records.evaluation import ModelStamp
from luthier.records.run_directory import RunDirectory
from luthier.training.activation_checkpointing import checkpoint_activations
from luthier.training.allocations import AllocationTracker
from luthier.training.fake_tensors import fake_tensors
from luthier.training.job import TrainingJob, prepare_model
from luthier.training.memory_trace import MemoryTrace, summarise
from luthier.training.objectives import Objective, Trainable
from luthier.training.optimizer import make_optimizer
from luthier.training.step import optimizer_step
from luthier.training.weights import TrainedWeights

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class BatchShape:
    """The shape of an optimizer step.

    Attributes:
        rows: examples per micro-batch.
        length: tokens per example (of the encoder, if there is one).
        predicted: positions of a micro-batch with logits; for an encoder-decoder model, all of the
            decoder's.
        target_length: tokens per decoder sequence; 0 for a decoder-only model.
        micro_batches: forward passes per step. Two represent any larger number.
        padded: whether the last row of a micro-batch is one token shorter, so that attention needs
            a mask. The rows of later micro-batches are then shorter by a token each, too.
    """

    rows: int
    length: int
    predicted: int = 0
    target_length: int = 0
    micro_batches: int = 2
    padded: bool = False

    def __post_init__(self) -> None:
        """Validate the sizes.

        Raises:
            UsageError: the sizes contradict each other.
        """
        if min(self.rows, self.length, self.micro_batches) < 1:
            raise UsageError("a batch has at least one row, one token and one micro-batch")
        most = self.rows * (self.length - 1 - self.padded * self.micro_batches)
        if not self.target_length and not 0 < self.predicted <= most:
            raise UsageError(
                f"{self.predicted} positions of {self.rows} × {self.length} cannot be predicted",
                fix=f"choose between 1 and {most}: nothing precedes a row's first token",
            )

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch, as `luthier.data.batches.micro_batches` counts them."""
        return self.rows * max(self.length, self.target_length)

    def examples(self) -> tuple[TrainingExample, ...]:
        """Examples that the loop splits into micro-batches of this shape."""
        return tuple(
            self._example(index, row)
            for index in range(self.micro_batches)
            for row in range(self.rows)
        )

    def _example(self, index: int, row: int) -> TrainingExample:
        shorter = index + (row == self.rows - 1) if self.padded else 0
        length = self.length - shorter
        share, rest = divmod(self.predicted, self.rows)
        trained = 0 if self.target_length else share + (row < rest)
        return TrainingExample(
            id=f"{index}.{row}",
            input_ids=(1,) * length,
            trained=(False,) * (length - trained) + (True,) * trained,
            prompt_length=length - trained,
            decoder_ids=(1,) * self.target_length,
        )


def trace_step(
    settings: Any,
    method: MethodName,
    config: RunConfig,
    shape: BatchShape,
    objective: Objective[TrainingExample],
) -> MemoryTrace:
    """The memory of a training step, without the model's weights.

    Args:
        settings: the model's transformers configuration.
        method: the tuning method.
        config: the settings of the method, the dtype, and activation checkpointing.
        shape: the shape of the batch.
        objective: the loss.

    Raises:
        UsageError: the architecture is unknown, or its code depends on tensor values.
    """
    _import_code(settings)
    even = {"micro_batch_tokens": shape.tokens, "max_padding": 0.999}
    # The initial text of a soft prompt needs a tokenizer, but no memory.
    methods = config.methods.having({method: config.methods.of(method).without_text()})
    config = config.model_copy(
        update={
            "train": config.train.model_copy(update=even),
            "methods": methods,
        }
    )
    with fake_tensors():
        base = _build(settings, config)
        return measure_step(base, method, config, shape.examples(), objective)


def measure_step(
    base: LoadedModel,
    method: MethodName,
    config: RunConfig,
    batch: Sequence[Trainable],
    objective: Objective[Any],
) -> MemoryTrace:
    """The memory of the second of two steps on ``batch``, run as in the training loop.

    Args:
        base: a model with real or fake tensors; it is modified.
        method: the tuning method.
        config: the settings of the method and the loop.
        batch: the step's examples.
        objective: the loss.
    """
    tracker = AllocationTracker()
    with tracker, quiet_transformers():
        job = _prepare(base, method, config, batch, objective, tracker)
        weights = TrainedWeights(job.loaded.model, job.train.master_weights)
        tracker.label(_masters(weights), "masters")
        optimizer = make_optimizer(weights, job)
        optimizer.register_step_pre_hook(lambda *_: tracker.label(_gradients(weights), "gradients"))
        optimizer_step(job, weights, optimizer, batch, 0)
        start = tracker.now
        tracker.label(_states(optimizer), "optimizer")
        optimizer_step(job, weights, optimizer, batch, 1)
    vocabulary = job.loaded.model.get_output_embeddings().weight.shape[0]
    return summarise(tracker.allocations, start, vocabulary)


def _import_code(settings: Any) -> None:
    """Import the code of model and methods now, since constants created later would be fake."""
    import peft  # noqa: F401
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING

    encoder_decoder = settings.is_encoder_decoder
    known = (
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING if encoder_decoder else MODEL_FOR_CAUSAL_LM_MAPPING
    )
    try:
        known[type(settings)]
    except KeyError:
        raise UsageError(
            f"the architecture {settings.model_type} does not generate text",
            fix="plan for a causal or an encoder-decoder language model",
        ) from None


def _build(settings: Any, config: RunConfig) -> LoadedModel:
    """The model of a configuration, in the dtype that loading would give."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    kind = AutoModelForSeq2SeqLM if settings.is_encoder_decoder else AutoModelForCausalLM
    dtype = resolve_dtype(config.model.dtype, _CPU)
    with quiet_transformers():
        model = kind.from_config(settings, dtype=dtype)
    if not getattr(settings, "scale_decoder_outputs", True):
        # T5 version 1.1 has a separate output layer, which is tied until weights are loaded.
        output = model.get_output_embeddings()
        output.weight = torch.nn.Parameter(torch.empty_like(output.weight))
    stamp = ModelStamp(
        id=settings.model_type,
        parameters=model.num_parameters(),
        dtype=str(dtype).removeprefix("torch."),
        architecture=type(model).__name__,
    )
    return LoadedModel(model, None, stamp, _CPU)


def _prepare(
    base: LoadedModel,
    method: MethodName,
    config: RunConfig,
    batch: Sequence[Trainable],
    objective: Objective[Any],
    tracker: AllocationTracker,
) -> TrainingJob:
    """The job as created by `luthier.training.tune` and started by `luthier.training.train`."""
    before = {id(parameter) for parameter in base.model.parameters()}
    tracker.label(base.model.buffers(), "frozen_weights")
    _, model = prepare_model(base, method, config)
    for parameter in model.parameters():
        trained = "trained_weights" if parameter.requires_grad else "frozen_weights"
        tracker.label([parameter], trained if id(parameter) in before else "adapters")
    checkpoint_activations(model, config.train.activation_checkpointing)
    model.train()
    return TrainingJob(
        loaded=dataclasses.replace(base, model=model),
        method_name=method,
        method=config.methods.of(method),
        train=config.train,
        objective=objective,
        examples=tuple(batch),
        validation=(),
        seed=config.seed,
        run=RunDirectory(Path()),  # a single step writes nothing
        fingerprint="",
    )


def _masters(weights: TrainedWeights) -> Iterator[Tensor]:
    return (m for name, m in weights.masters.items() if m is not weights.parameters[name])


def _gradients(weights: TrainedWeights) -> Iterator[Tensor]:
    return (master.grad for master in weights.masters.values() if master.grad is not None)


def _states(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    values = (value for state in optimizer.state.values() for value in state.values())
    return (value for value in values if isinstance(value, Tensor))
