"""Checks of all rungs before the first one starts."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.context.evaluation_task import evaluation_task
from luthier.context.long_tests import asking, without_long_tests
from luthier.context.run_context import RunContext
from luthier.context.training_data import require_trainable_base, training_data
from luthier.core.console import Console
from luthier.distributed.process_group import SINGLE_PROCESS
from luthier.ladder.rungs import PromptRung, Rung, TuningRung, rungs_of
from luthier.methods.weightless import outlined
from luthier.models.device import default_device
from luthier.planning.from_config import tuning_of
from luthier.preflight.dry_run import Checked
from luthier.preflight.job_plan import architecture_of
from luthier.prompts.prompt import known_tokens
from luthier.training.job import allowed_method
from luthier.training.optimizer import require_optimizer
from luthier.training.trackers import require_trackers


def without_tests_too_long_for_a_rung(context: RunContext, console: Console) -> RunContext:
    """The run without test examples that are too long for the prompt of some rung.

    All rungs answer the same examples. Applies only if ``evaluate.too_long`` is ``drop``.

    Raises:
        DataError: no example is left.
    """
    rungs = rungs_of(context.config)
    ways = [asking(context, rung.shots) for rung in rungs if isinstance(rung, PromptRung)]
    ways += [asking(context, 0, rung.method) for rung in rungs if isinstance(rung, TuningRung)]
    return without_long_tests(context, *ways, console=console)


def check_ladder(context: RunContext) -> Checked:
    """Check that every rung can use the examples. A rung without enough memory is skipped later.

    Raises:
        UsageError: a metric is named twice, a tracker is not installed, a method names parameters
            that do not exist, or the loop's settings exclude it.
        DataError: a prompt leaves no room for its answer in the context window, a metric does not
            apply, there are too few examples for the shots, or no training example is left.
    """
    rungs = rungs_of(context.config)
    longest = _longest_prompt(context, rungs)
    methods = tuple(rung.method for rung in rungs if isinstance(rung, TuningRung))
    if methods:
        require_trackers(context.config.train.trackers)
        require_optimizer(context.config.train, default_device(), SINGLE_PROCESS)
    for method in methods:
        require_trainable_base(context, method)
        allowed_method(method, context.config, context.weights())
        outlined(context.weights(), method, context.config.methods)  # validates
    if architecture := architecture_of(context):
        for method in methods:
            tuning_of(method, context.config.methods, architecture)
    # Methods differ in settings, not in examples, so one represents all.
    dropped = training_data(context, methods[0]).dropped if methods else ()
    prompting = tuple((rung.name, rung.shots) for rung in rungs if isinstance(rung, PromptRung))
    return Checked(methods, longest, dropped, prompting, answers=True)


def _longest_prompt(context: RunContext, rungs: Sequence[Rung]) -> int:
    """Tokens of the longest prompt of all rungs; each must fit together with its method."""
    asked = [(context.renderer, rung.shots) for rung in rungs if isinstance(rung, PromptRung)]
    asked += [
        (context.renderer_beside(rung.method), 0) for rung in rungs if isinstance(rung, TuningRung)
    ]
    longest: dict[tuple[int, int], int] = {}
    for renderer, shots in asked:
        key = (shots, renderer.tokenised().context_window)
        if key not in longest:
            prompts = evaluation_task(context, shots).prompts(renderer)
            longest[key] = max(known_tokens(prompt.content) for prompt in prompts)
    return max(longest.values(), default=0)
