"""One training step without data: the memory it needs, by running the real code on fake tensors.

A second opinion for the planner's formulas. The model is built from its configuration alone, and
the method, the loss and the optimizer's step are those of the training loop; only the tensors are
fake (`torch._subclasses.FakeTensorMode`): they have shapes and lifetimes, but hold no numbers.

The figures are those of tensors on a CPU. A CUDA card runs the same program with a few other
kernels: SDPA's flash kernel takes float16 and bfloat16 alone, and with a mask the memory-efficient
one, which reads a padded copy of the mask; both keep a log-sum-exp and the state of a random
generator; dropout keeps a mask of one byte a number, where the CPU keeps noise of the activation's
type. Its allocator rounds every tensor up to 512 bytes and reserves more than is allocated, and
cuBLAS takes a workspace of some MiB; none of that is counted here.
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
        rows: examples in a micro-batch.
        length: tokens of each (of the encoder, if there is one).
        predicted: positions of a micro-batch with logits; for an encoder-decoder model, all of
            the decoder's.
        target_length: tokens of each decoder sequence; 0 for a decoder-only model.
        micro_batches: forward passes in the step. What two need, more need as well.
        padded: whether the last row of a micro-batch is shorter by one token, so that attention
            gets a mask. The rows of later micro-batches are then shorter too, by a token each.
    """

    rows: int
    length: int
    predicted: int = 0
    target_length: int = 0
    micro_batches: int = 2
    padded: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: sizes that contradict each other.
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
        """Examples that the loop cuts into micro-batches of this shape."""
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
    """Memory of a training step of a model that is not there.

    Args:
        settings: the model's transformers configuration; no weights are read.
        method: the tuning method.
        config: its settings, the type of the weights, and activation checkpointing.
        shape: of the batch.
        objective: the loss.

    Raises:
        UsageError: the architecture is unknown, or its code depends on values of tensors.
    """
    _import_code(settings)
    even = {"micro_batch_tokens": shape.tokens, "max_padding": 0.999}
    # The text whose embeddings a soft prompt starts from needs a tokenizer, and no memory.
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
    """Memory of the second of two steps on ``batch``, as the training loop takes them.

    Args:
        base: a model with real or fake tensors; it is changed.
        method: the tuning method.
        config: its settings and the loop's.
        batch: the examples of the step.
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
    """Import the model's code and the methods' library now: a constant made later holds no data."""
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
            f"{settings.model_type} is not an architecture that generates text",
            fix="plan for a causal or an encoder-decoder language model",
        ) from None


def _build(settings: Any, config: RunConfig) -> LoadedModel:
    """The model of a configuration, in the type that loading it would give."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    kind = AutoModelForSeq2SeqLM if settings.is_encoder_decoder else AutoModelForCausalLM
    dtype = resolve_dtype(config.model.dtype, _CPU)
    with quiet_transformers():
        model = kind.from_config(settings, dtype=dtype)
    if not getattr(settings, "scale_decoder_outputs", True):
        # T5's version 1.1 has an output layer of its own, which is tied until weights are loaded.
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
    """The job as `luthier.training.tune` makes it and `luthier.training.train` starts it."""
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
        run=RunDirectory(Path()),  # a step writes nothing
        fingerprint="",
    )


def _masters(weights: TrainedWeights) -> Iterator[Tensor]:
    return (m for name, m in weights.masters.items() if m is not weights.parameters[name])


def _gradients(weights: TrainedWeights) -> Iterator[Tensor]:
    return (master.grad for master in weights.masters.values() if master.grad is not None)


def _states(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    values = (value for state in optimizer.state.values() for value in state.values())
    return (value for value in values if isinstance(value, Tensor))
