"""What a run will take, and whether it can run at all, before any weights are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from luthier.adapt.evaluation import notes_on_power
from luthier.adapt.planning import check_memory, memory_limit, plan_within_memory
from luthier.adapt.rungs import Rung, rungs_of
from luthier.adapt.setup import Setup
from luthier.adapt.tuning_plan import architecture_of
from luthier.config.methods import MethodName
from luthier.core.console import Console
from luthier.core.forecasts import Forecast, MethodForecast
from luthier.core.run_directory import RunDirectory
from luthier.data.problems import Dropped, count_reasons
from luthier.data.splits import SPLITS
from luthier.distributed.ranks import ALONE
from luthier.evaluate.runner import render_prompts
from luthier.methods.outline import outlined
from luthier.models.device import default_device
from luthier.plan.from_config import tuning_of
from luthier.train.job import allowed_method
from luthier.train.optimizer import require_optimizer
from luthier.train.trackers import require_trackers


class Checked(NamedTuple):
    """What checking found.

    Attributes:
        methods: the tuning methods that will be used.
        longest_prompt: in tokens.
        dropped: training examples that this model cannot take.
    """

    methods: tuple[MethodName, ...]
    longest_prompt: int
    dropped: tuple[Dropped, ...]


def without_long_tests(setup: Setup, console: Console) -> Setup:
    """Without the test examples that do not fit into the prompts of every rung.

    All rungs answer the same ones. Only where ``evaluate.too_long`` is ``drop``.

    Raises:
        DataError: none is left.
    """
    ways = [setup.asking(rung.shots, rung.method) for rung in rungs_of(setup.config)]
    return setup.without_long_tests(*ways, console=console)


def check_adapt(setup: Setup) -> Checked:
    """Check that every rung can use the examples. A rung that lacks memory is skipped later.

    Raises:
        UsageError: a metric is named twice, a tracker is not installed, a method is told to train
            what is not there, or the loop's settings rule it out.
        DataError: a prompt leaves no room for its answer in the context window, a metric does not
            apply, there are too few examples to show, or none is left to train on.
    """
    rungs = rungs_of(setup.config)
    longest = _longest_prompt(setup, rungs)
    methods = tuple(rung.method for rung in rungs if rung.method)
    if methods:
        require_trackers(setup.config.train.trackers)
        require_optimizer(setup.config.train, default_device(), ALONE)
    for method in methods:
        setup.require_trainable_base(method)
        allowed_method(method, setup.config, setup.weights())
        outlined(setup.weights(), method, setup.config.methods)  # for its checks
    if architecture := architecture_of(setup):
        for method in methods:
            tuning_of(setup.config.methods.of(method), architecture)
    # Methods differ in settings, not in examples: one stands for all.
    dropped = setup.training_data(methods[0]).dropped if methods else ()
    return Checked(methods, longest, dropped)


def _longest_prompt(setup: Setup, rungs: Sequence[Rung]) -> int:
    """Tokens of the longest prompt of all rungs, each of which has to fit beside its method."""
    longest: dict[tuple[int, int], int] = {}
    for rung in rungs:
        renderer = setup.renderer_beside(rung.method) if rung.method else setup.renderer
        key = (rung.shots, renderer.context_window)
        if key not in longest:
            prompts = render_prompts(renderer, setup.task(rung.shots))
            longest[key] = max(len(prompt.ids) for prompt in prompts)
    return max(longest.values())


def check_tune(setup: Setup) -> Checked:
    """Check that there is something to train on, and memory to do it.

    Raises:
        DataError: no training example is left, or one is too long and that is an error.
        ResourceError: it does not fit into memory.
        UsageError: a tracker is not installed, or the loop's settings rule the method out.
    """
    method = setup.config.method
    require_trackers(setup.config.train.trackers)
    allowed_method(method, setup.config, setup.weights())
    data = setup.training_data(method)
    check_memory(setup, method, data)
    longest = max(example.prompt_length for example in data.train)
    return Checked((method,), longest, data.dropped)


def forecast_run(setup: Setup, run: RunDirectory, checked: Checked) -> Forecast:
    """What a run would use, and what each of its methods would take.

    Args:
        setup: data, prompts, model and settings.
        run: where it would be.
        checked: what checking found.
    """
    dataset = setup.dataset
    dropped = count_reasons(dataset.dropped + checked.dropped)
    examples = {split: len(dataset.split(split)) for split in SPLITS}
    examples["train"] -= len(checked.dropped)  # those that this model cannot take
    return Forecast(
        run=run.path,
        task=dataset.task,
        template=setup.template.id,
        metrics=setup.metrics,
        model=setup.handle.id,
        examples=examples,
        dropped={reason.reason: reason.count for reason in dropped},
        longest_prompt=checked.longest_prompt,
        context_window=setup.renderer.context_window,
        max_steps=setup.config.train.max_steps,
        methods=tuple(_forecast_method(setup, method) for method in checked.methods),
        power=notes_on_power(setup),
    )


def _forecast_method(setup: Setup, method: MethodName) -> MethodForecast:
    """What tuning with ``method`` would take."""
    plan = plan_within_memory(setup, method, setup.training_data(method))
    usable = memory_limit(setup)
    outline = outlined(setup.weights(), method, setup.config.methods)
    if plan is None:
        return MethodForecast(
            method=method,
            trained_parameters=outline.trained,
            usable_bytes=usable,
            notes=outline.notes,
        )
    return MethodForecast(
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
