"""What a tuning will take, from the model's configuration and the batches it will really see."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil

from luthier.adapt.setup import Setup
from luthier.config.methods import MethodName
from luthier.core.errors import DataError, ResourceError
from luthier.core.files import read_json
from luthier.core.records import MeasuredPlan, PlanCheck
from luthier.core.run_directory import RunDirectory
from luthier.core.units import format_bytes
from luthier.data.batches import BatchOrder, micro_batches
from luthier.models.device import default_device, free_memory, resolve_dtype
from luthier.plan import Architecture, MemoryPlan, TrainingSetup, plan_training, read_architecture
from luthier.plan.from_config import tuning_of
from luthier.plan.memory import pass_cost
from luthier.plan.setup import PRECISIONS
from luthier.prompts.render import TrainingExample
from luthier.train import TrainingData
from luthier.train.loss import padded_length, trained_tokens

# Steps whose batches are looked at, and how many of the largest forward passes are planned.
_STEPS_SEEN = 2000
_LARGEST = 6

SMALLER = (
    "try a smaller train.micro_batch_tokens or data.max_length, "
    "or train.activation_checkpointing=true"
)


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """What tuning with one method will take.

    Attributes:
        memory: at the peak.
        trained_parameters: numbers that are trained.
        steps: optimizer steps.
    """

    memory: MemoryPlan
    trained_parameters: int
    steps: int


def plan_tuning(setup: Setup, method: MethodName, data: TrainingData) -> TuningPlan | None:
    """The plan of tuning with ``method``; None for a model that the planner does not know.

    The order of the batches is a function of the seed, so the largest forward pass that will occur
    is known, not guessed.
    """
    architecture = architecture_of(setup)
    if architecture is None:
        return None
    config, settings = setup.config, setup.config.methods.of(method)
    order = BatchOrder(len(data.train), config.train.batch_size, config.seed)
    steps = order.total_steps(settings.epochs or config.train.epochs)
    passes = _largest(_passes(setup, data.train, order, min(steps, _STEPS_SEEN)))
    setups = [_training_setup(setup, method, batch) for batch in passes]
    plans = [plan_training(architecture, one, memory_limit(setup)) for one in setups]
    return TuningPlan(
        memory=max(plans, key=lambda plan: plan.total),
        trained_parameters=pass_cost(architecture, setups[0]).trained_count,
        steps=steps,
    )


def check_memory(setup: Setup, method: MethodName, data: TrainingData) -> TuningPlan | None:
    """The plan, if it may be used.

    Raises:
        ResourceError: it needs more than ``adapt.memory``, or than what is free.
    """
    plan = plan_tuning(setup, method, data)
    limit = memory_limit(setup)
    if plan and plan.memory.total > limit:
        raise ResourceError(
            f"{method} needs about {format_bytes(plan.memory.total)}, "
            f"and {format_bytes(limit)} may be used",
            fix=SMALLER,
        )
    return plan


def architecture_of(setup: Setup) -> Architecture | None:
    """The structure of the setup's model, or None where the planner does not know its kind."""
    path = setup.handle.folder.path / "config.json"
    try:
        return read_architecture(read_json(path), str(path))
    except DataError:
        return None


def measured_plans(runs: Sequence[RunDirectory]) -> tuple[PlanCheck, ...]:
    """What was predicted and measured in runs and in their rungs.

    Raises:
        DataError: none of them has a plan that was measured.
    """
    checks = tuple(check for run in runs for check in _measured(run))
    if not checks:
        raise DataError(
            "none of these runs has a plan that was measured",
            where=", ".join(str(run.path) for run in runs),
            fix="name runs of tune or adapt that have trained",
        )
    return checks


def _measured(run: RunDirectory) -> list[PlanCheck]:
    plans = [(path, MeasuredPlan.read(path)) for path in sorted(run.path.rglob("plan.json"))]
    return [
        PlanCheck(
            run=str(path.parent),
            predicted_peak_bytes=plan.predicted_peak_bytes,
            measured_peak_bytes=plan.measured_peak_bytes,
        )
        for path, plan in plans
        if plan.measured_peak_bytes
    ]


def memory_limit(setup: Setup) -> int:
    """Bytes this process may come to use: ``adapt.memory``, or what it has and what is free."""
    if setup.config.adapt.memory:
        return setup.config.adapt.memory
    device = default_device()
    held = psutil.Process().memory_info().rss if device.type == "cpu" else 0
    return held + free_memory(device)


@dataclass(frozen=True, slots=True)
class _ForwardPass:
    """One micro-batch and the number of micro-batches of its step."""

    examples: tuple[TrainingExample, ...]
    in_step: int

    @property
    def tokens(self) -> int:
        """Padding included."""
        return len(self.examples) * max(map(padded_length, self.examples))

    @property
    def predicted(self) -> int:
        """Positions with logits."""
        return sum(map(trained_tokens, self.examples))


def _passes(
    setup: Setup, examples: Sequence[TrainingExample], order: BatchOrder, steps: int
) -> Iterable[_ForwardPass]:
    """Every forward pass of the first ``steps`` steps, cut as the loop cuts them."""
    train = setup.config.train
    for step in range(steps):
        batch = [examples[i] for i in order.step(step)]
        cuts = micro_batches(
            [padded_length(example) for example in batch],
            tokens=train.micro_batch_tokens,
            max_padding=train.max_padding,
        )
        for cut in cuts:
            yield _ForwardPass(tuple(batch[i] for i in cut), len(cuts))


def _largest(passes: Iterable[_ForwardPass]) -> list[_ForwardPass]:
    """Those with the most tokens and those with the most logits: one of them has the peak."""
    everything = list(passes)
    by_tokens = sorted(everything, key=lambda one: -one.tokens)[:_LARGEST]
    by_logits = sorted(everything, key=lambda one: -one.predicted)[:_LARGEST]
    return list(itertools.chain(by_tokens, by_logits))


def _training_setup(setup: Setup, method: MethodName, batch: _ForwardPass) -> TrainingSetup:
    config, device = setup.config, default_device()
    short = resolve_dtype(config.model.dtype, device).itemsize == 2
    lengths = [len(example.input_ids) for example in batch.examples]
    return TrainingSetup(
        tuning=tuning_of(config.methods.of(method)),
        precision=PRECISIONS["bf16-mixed" if short else "float32"],
        checkpointing="full" if config.train.activation_checkpointing else "none",
        batch=len(lengths),
        length=max(lengths),
        target_length=max(len(example.decoder_ids) for example in batch.examples),
        predicted=batch.predicted,
        accumulation=batch.in_step,
        padded=min(lengths) < max(lengths),
        on_cpu=device.type == "cpu",
    )
