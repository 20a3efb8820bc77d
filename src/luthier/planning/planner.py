"""The planner's questions, one function each."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import get_args

from luthier.core.choices import OptimizerName
from luthier.core.errors import UsageError
from luthier.core.method_facts import FACTS
from luthier.planning.commands import plan_command, search_command
from luthier.planning.families import read_architecture
from luthier.planning.hardware import Device
from luthier.planning.memory import MemoryPlan, plan_inference
from luthier.planning.model_config import known_models
from luthier.planning.overhead import usual_overhead
from luthier.planning.plan_request import PlanRequest
from luthier.planning.precision import precision_on
from luthier.planning.search import Search, largest_model, search, smallest_hardware
from luthier.planning.training_plan import Plan, in_words, make_plan

_ANY = "Any method"


def plan(question: PlanRequest, price: float | None = None) -> Plan:
    """Memory, time and cost of one training configuration.

    Args:
        question: the model, the hardware, and the training.
        price: per device-hour, in any currency.

    Raises:
        UsageError: an invalid combination, such as a batch that does not divide.
        DataError: the model has no known configuration.
    """
    architecture, _ = question.architecture()
    cluster = question.cluster()
    return make_plan(
        question.workload(architecture), question.choice(cluster.device), cluster, price=price
    )


def best_plans(question: PlanRequest, price: float | None = None) -> Search:
    """The fastest training configurations that fit the hardware.

    Precision, optimizer, checkpointing and parallelism given in the question stay fixed; the others
    and the micro-batch are searched. Without a global batch size, one is chosen that every
    micro-batch divides.

    Raises:
        UsageError, DataError: as in `plan`.
    """
    question = question.for_search()
    architecture, _ = question.architecture()
    cluster = question.cluster()
    return search(
        question.workload(architecture),
        cluster,
        methods=question.methods(),
        fixed=question.fixed(cluster.device),
        price=price,
    )


def generation(question: PlanRequest) -> tuple[MemoryPlan, Device]:
    """The memory of generating ``batch`` answers at once, ``length`` tokens each with prompt.

    Raises:
        UsageError, DataError: as in `plan`.
    """
    architecture, _ = question.architecture()
    device = question.cluster().device
    question.workload(architecture)  # validates
    if question.devices > 1:
        raise UsageError(
            "generation is planned on one device only; sharing it among several is not supported",
            fix="give one device",
        )
    if architecture.context and question.seq_len > architecture.context:
        raise UsageError(
            f"{question.seq_len} tokens exceed the context window of {architecture.context}",
            fix=f"use a --seq-len of at most {architecture.context}",
        )
    choice = question.choice(device)
    precision = precision_on(device, choice.precision, choice.compute)
    memory = plan_inference(
        architecture,
        precision,
        batch=question.batch,
        length=question.target_length or question.seq_len,
        overhead=usual_overhead(device.is_cpu),
    )
    return memory, device


@dataclass(frozen=True, slots=True)
class Advice:
    """A suggestion where a requested configuration may not fit.

    Attributes:
        sentence: what to try, and why.
        command: the arguments of the command that plans it.
    """

    sentence: str
    command: tuple[str, ...]

    def __str__(self) -> str:
        """The suggestion on one line."""
        return f"{self.sentence} {shlex.join(self.command)}"


def advice(question: PlanRequest, price: float | None = None) -> Advice:
    """Advice where the requested configuration may not fit.

    Only configurations that `tune` can run are suggested.

    Raises:
        UsageError, DataError: as in `plan`.
    """
    free = _runnable(question)
    if found := _first_that_runs(free, price):
        return _suggest("", free, found, price)
    name = FACTS[question.method].title if question.method in FACTS else _ANY
    nothing = f"{name} does not fit with any setting tried. "
    smaller = replace(free, method="qlora")
    if found := _first_that_runs(smaller, price):
        return _suggest(nothing, smaller, found, price)
    wider = replace(smaller, hardware="any", devices=1, batch=1, global_batch_size=None)
    return Advice(
        f"{nothing}Use a smaller model, or find devices on which it fits:", search_command(wider)
    )


def _suggest(start: str, free: PlanRequest, found: Plan, price: float | None) -> Advice:
    """The shortest request that gives a plan like the one found, with that plan's figures."""
    chosen = replace(
        free,
        method=found.method_in_words,
        parallel=None if found.parallel in {"single", "fsdp"} else found.parallel,
        checkpointing=None if found.checkpointing == "none" else found.checkpointing,
        batch=found.batch,
    )
    exact = replace(chosen, precision=found.precision, global_batch_size=found.sequences)
    for request in (
        chosen,
        replace(chosen, precision=found.precision),
        replace(exact, precision=None),
        exact,
    ):
        made = plan(request, price)
        if made.verdict == found.verdict and made.precision_in_words == found.precision_in_words:
            break
    return Advice(f"{start}Try {in_words(made)}:", plan_command(request, price))


def _runnable(question: PlanRequest) -> PlanRequest:
    """The question with searchable fields free and features that `tune` lacks removed."""
    has_optimizer = question.optimizer in get_args(OptimizerName)
    return replace(
        question,
        precision=None,
        parallel=None,
        checkpointing=None,
        offload=False,
        shard_embeddings=False,
        update_in_backward=False,
        loss_chunks=1,
        optimizer=question.optimizer if has_optimizer else "adamw",
    )


def _first_that_runs(question: PlanRequest, price: float | None) -> Plan | None:
    """The best plan that `tune` can run, if any."""
    try:
        found = best_plans(question, price)
    except UsageError:  # not possible for this model
        return None
    return next((plan for plan in found.best if plan.tune.can), None)


def smallest_plans(
    question: PlanRequest, price: float | None = None
) -> tuple[tuple[str, Plan], ...]:
    """The fewest accelerators of each kind that fit, least total memory first.

    Raises:
        UsageError, DataError: as in `plan`.
    """
    if question.method == "any":
        raise UsageError(
            "the smallest hardware depends on the method", fix="name one, such as --method lora"
        )
    architecture, _ = question.architecture()
    alone = replace(question, parallel=None, devices=1)
    plans = smallest_hardware(question.workload(architecture), alone.choice, price=price)
    return tuple((question.model, one) for one in plans)


def largest_plans(
    question: PlanRequest, price: float | None = None
) -> tuple[tuple[str, Plan], ...]:
    """The largest well-known model that the hardware can train with a method, if any.

    Raises:
        UsageError: as in `plan`.
    """
    question, cluster = question.for_search(), question.cluster()
    works = [
        (name, question.workload(read_architecture(config, name)))
        for name, config in known_models().items()
    ]
    found = largest_model(
        works,
        cluster,
        methods=question.methods(),
        fixed=question.fixed(cluster.device),
        price=price,
    )
    return (found,) if found else ()
