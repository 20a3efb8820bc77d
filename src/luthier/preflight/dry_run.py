"""The requirements of a run, and whether it can run, before any weights are loaded."""

from __future__ import annotations

from typing import NamedTuple

from luthier.context.run_context import RunContext
from luthier.context.training_data import training_data
from luthier.core.method_facts import MethodName
from luthier.data.problems import Dropped, count_reasons
from luthier.data.splits import SPLITS
from luthier.methods.weightless import outlined
from luthier.preflight.evaluation_time import planned_evaluation_seconds
from luthier.preflight.memory_check import check_memory, memory_limit, plan_within_memory
from luthier.preflight.power import notes_on_power
from luthier.records.dry_run import DryRun, MethodDryRun, PromptingDryRun
from luthier.records.run_directory import RunDirectory
from luthier.training.job import allowed_method
from luthier.training.trackers import require_trackers


class Checked(NamedTuple):
    """The findings of a check.

    Attributes:
        methods: the tuning methods that will be used.
        prompting: the name and number of shots of each rung that only prompts the base model.
        answers: whether the test examples are answered.
        longest_prompt: in tokens.
        dropped: training examples that are too long for this model.
    """

    methods: tuple[MethodName, ...]
    longest_prompt: int
    dropped: tuple[Dropped, ...]
    prompting: tuple[tuple[str, int], ...] = ()
    answers: bool = False


def check_tune(context: RunContext) -> Checked:
    """Check that training examples and memory suffice.

    Raises:
        DataError: no training example is left, or one is too long and ``data.too_long`` is an
            error.
        ResourceError: memory does not suffice.
        UsageError: a tracker is not installed, or the loop's settings exclude the method.
    """
    method = context.config.method
    require_trackers(context.config.train.trackers)
    allowed_method(method, context.config, context.weights())
    data = training_data(context, method)
    check_memory(context, method, data)
    longest = max(one.prompt_length for one in data.objective.sequences(data.train))
    return Checked((method,), longest, data.dropped)


def dry_run_of(context: RunContext, run: RunDirectory, checked: Checked) -> DryRun:
    """The inputs of a run, and the requirements of each of its methods.

    Args:
        context: data, prompts, model and settings.
        run: the future run directory.
        checked: the findings of the check.
    """
    dataset = context.dataset
    dropped = count_reasons(dataset.dropped + checked.dropped)
    examples = {split: len(dataset.split(split)) for split in SPLITS}
    examples["train"] -= len(checked.dropped)  # examples that are too long for this model
    return DryRun(
        run=run.path,
        task=dataset.task,
        template=context.template.id,
        metrics=context.metrics,
        model=context.model.id,
        examples=examples,
        dropped={reason.reason: reason.count for reason in dropped},
        longest_prompt=checked.longest_prompt,
        context_window=context.weights().context_window,
        max_steps=context.config.train.max_steps,
        prompting=tuple(
            PromptingDryRun(
                rung=name, shots=shots, evaluate_seconds=planned_evaluation_seconds(context, shots)
            )
            for name, shots in checked.prompting
        ),
        methods=_forecast_methods(context, checked),
        power=notes_on_power(context),
    )


def _forecast_methods(context: RunContext, checked: Checked) -> tuple[MethodDryRun, ...]:
    found = [_forecast_method(context, method) for method in checked.methods]
    if not found or not checked.answers:
        return tuple(found)
    seconds = planned_evaluation_seconds(context, 0)
    return tuple(each.model_copy(update={"evaluate_seconds": seconds}) for each in found)


def _forecast_method(context: RunContext, method: MethodName) -> MethodDryRun:
    """The requirements of tuning with ``method``."""
    plan = plan_within_memory(context, method, training_data(context, method))
    usable = memory_limit(context)
    outline = outlined(context.weights(), method, context.config.methods)
    if plan is None:
        return MethodDryRun(
            method=method,
            trained_parameters=outline.trained,
            usable_bytes=usable,
            notes=outline.notes,
        )
    return MethodDryRun(
        method=method,
        trained_parameters=plan.trained_parameters,
        steps=plan.steps,
        memory_bytes=plan.memory.total,
        memory_high_bytes=plan.memory.total_interval.high,
        seconds=plan.seconds,
        seconds_are_guessed=plan.seconds_are_guessed,
        usable_bytes=usable,
        notes=outline.notes,
    )
