"""Evaluate a model or a run on its own data: `luthier evaluate`."""

from __future__ import annotations

from pathlib import Path

from luthier.api.configuration import (
    Configuration,
    Overrides,
    configure_for,
    open_run,
    save_run_config,
)
from luthier.api.results import EvaluateResult
from luthier.context.run_or_model import find_target
from luthier.core.console import Console
from luthier.records.run_lock import writing


def evaluate(
    target: str | Path | None = None,
    config: Configuration = None,
    overrides: Overrides = None,
    console: Console | None = None,
) -> EvaluateResult:
    """Evaluate a model or a tuned run on the test examples.

    Args:
        target: a run directory (an adapt run stands for its recommended rung) or a model; None: the
            configuration's model.
        config: the configuration; None: that of the run, or the defaults.
        overrides: changed settings.
        console: shows progress.

    Raises:
        LuthierError: see `luthier.core.errors`.

    Example:
        >>> import luthier
        >>> result = luthier.evaluate("runs/tuned")
        >>> answers = result.to_pandas()[["prompt", "prediction", "references"]]
    """
    from luthier.api.report import verified_report
    from luthier.context.evaluation_task import evaluation_task
    from luthier.context.manifest import check_template, write_manifest
    from luthier.context.prepare import prepare, prepare_evaluation
    from luthier.context.run_predictor import load_model
    from luthier.context.stored_prompting import store_prompting
    from luthier.evaluation.settings import require_reach
    from luthier.preflight.power import notes_on_power
    from luthier.workflows.contamination import check_contamination
    from luthier.workflows.measure import measure_model
    from luthier.workflows.model_card import write_card

    console = console or Console()
    found = find_target(target, console)
    tuned, own = found.run, found.tuned
    if found.model:
        overrides = {**(overrides or {}), "model.id": found.model}
    resolved = configure_for(tuned, config, overrides)
    found.require_present(resolved.output)
    require_reach(resolved.evaluate, "data")
    if own:
        require_reach(resolved.evaluate, "tuned")
    # A tuned model may have been trained on general text, in which test examples are looked for.
    context = (prepare if own else prepare_evaluation)(resolved, console)
    shots = resolved.prompt.shots
    evaluation_task(context, shots).prompts(context.renderer)  # checks them
    run = tuned or open_run(resolved, "evaluate", context.dataset.task, context.model.id)
    with writing(run, console):
        if not tuned:
            write_manifest(run, context, "evaluate")
            save_run_config(run, context.config)
            store_prompting(run, context, shots)
        if tuned and own:
            check_template(tuned, context, console)
        model = load_model(context.model, own, resolved, console)
        contamination = check_contamination(context, run, console) if own else None
        for note in notes_on_power(context):
            console.say(note)
        adapter = resolved.method if own else ""
        evaluation = measure_model(context, shots, run, model, console, adapter, contamination)
        if own:
            write_card(run, context.weights())  # with the scores
        return EvaluateResult(run, *evaluation, verified_report(run, console))
