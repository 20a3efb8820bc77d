"""The stages as Python functions: what the commands do, usable from a script or a notebook.

A configuration is a `RunConfig`, the path of a YAML file, or None for the defaults; ``overrides``
changes single values by their dotted key::

    import luthier

    result = luthier.adapt(overrides={"adapt.rungs": ["zero-shot", "lora"]})
    print(result.ladder.recommendation.sentence)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from luthier.config import RunConfig, load_config
from luthier.config.load import override
from luthier.config.stored import grants, save_config, stored_config
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.forecasts import Forecast, PlanCheck
from luthier.core.inspection import Inspection
from luthier.core.records import SampleRecord
from luthier.core.results import tuned_model
from luthier.core.run_directory import RunDirectory, is_missing_run
from luthier.core.run_lock import writing
from luthier.results import AdaptResult, EvaluateResult, MergeResult, TuneResult

if TYPE_CHECKING:
    from luthier.plan.ask import Question
    from luthier.plan.hardware import Calibration

Configuration = RunConfig | Path | str | None
Overrides = Mapping[str, Any] | None


def configure(config: Configuration = None, overrides: Overrides = None) -> RunConfig:
    """The configuration with single values changed.

    Raises:
        UsageError: an unknown key or a wrong value.
    """
    if isinstance(config, RunConfig):
        return override(config, overrides or {})
    return load_config(Path(config) if config else None, flags=overrides)


def adapt(
    config: Configuration = None, overrides: Overrides = None, console: Console | None = None
) -> AdaptResult:
    """Climb the ladder, or go on with one that was interrupted.

    Raises:
        LuthierError: see `luthier.core.errors`; a user's mistake, never a defect.
    """
    from luthier.adapt import prepare
    from luthier.adapt.forecast import check_adapt, without_long_tests
    from luthier.adapt.ladder import climb
    from luthier.adapt.manifest import write_manifest
    from luthier.adapt.verify import verified_report
    from luthier.evaluate.settings import require_reach

    resolved, console = configure(config, overrides), console or Console()
    require_reach(resolved.evaluate, "ladder")
    setup = without_long_tests(prepare(resolved, console), console)
    check_adapt(setup)
    run = open_run(resolved, "adapt", setup.dataset.task, setup.handle.id)
    with writing(run, console):
        write_manifest(run, setup, "adapt")
        _save_config(run, setup.config)
        ladder = climb(setup, run, console)
        return AdaptResult(run, ladder, verified_report(run, console))


def tune(
    config: Configuration = None, overrides: Overrides = None, console: Console | None = None
) -> TuneResult:
    """Tune with ``config.method``, or go on with a training that was interrupted.

    Raises:
        LuthierError: see `luthier.core.errors`.
    """
    from luthier.adapt import prepare
    from luthier.adapt.base_model import BaseModel
    from luthier.adapt.fitting import warn_of_long_tests
    from luthier.adapt.manifest import write_manifest
    from luthier.adapt.tuning import tuned_model
    from luthier.adapt.verify import verified_report
    from luthier.distributed.ranks import joined_ranks

    with joined_ranks() as ranks:
        resolved = configure(config, overrides)
        console = (console or Console()) if ranks.is_first else Console(quiet=True)
        setup = prepare(resolved, console)
        long = setup.long_tests(setup.asking(resolved.prompt.shots, resolved.method))
        warn_of_long_tests(setup.dataset, long, console)
        kind = f"tune-{resolved.method}"
        run = open_run(resolved, kind, setup.dataset.task, setup.handle.id)
        with writing(run, console) if ranks.is_first else nullcontext():
            if ranks.is_first:
                write_manifest(run, setup, "tune")
                _save_config(run, setup.config)
            base, limit = BaseModel(setup.weights()), resolved.train.max_time
            _, training = tuned_model(setup, resolved.method, base, run, limit, console, ranks)
            report = verified_report(run, console) if ranks.is_first else run.report_html
            return TuneResult(run, training, report)


def inspect(
    config: Configuration = None, overrides: Overrides = None, console: Console | None = None
) -> Inspection:
    """What ``config.method`` trains and, for a soft prompt, the words near its vectors.

    The vectors are those of the configuration's run where it is tuned, else those with which its
    training would start. Nothing is trained, and nothing is written.

    Raises:
        LuthierError: see `luthier.core.errors`.
    """
    from luthier.adapt import prepare
    from luthier.adapt.inspection import inspect_method

    resolved, console = configure(config, overrides), console or Console()
    setup = prepare(resolved, console)
    kind = f"tune-{resolved.method}"
    name = resolved.run_name(kind, setup.dataset.task, setup.handle.id)
    return inspect_method(setup, RunDirectory(resolved.output / name), console)


def evaluate(
    target: str | Path | None = None,
    config: Configuration = None,
    overrides: Overrides = None,
    console: Console | None = None,
) -> EvaluateResult:
    """Measure a model or a tuned run on the test examples.

    Args:
        target: a run directory; or a model; or None for the configuration's model.
        config: the configuration; None: that of the run, or the defaults.
        overrides: changed values.
        console: shows progress.

    Raises:
        LuthierError: see `luthier.core.errors`.
    """
    from luthier.adapt import prepare
    from luthier.adapt.cards import write_card
    from luthier.adapt.contamination import check_contamination
    from luthier.adapt.evaluation import measure_model
    from luthier.adapt.manifest import check_template, write_manifest
    from luthier.adapt.setup import find_model
    from luthier.adapt.subject import Model, loaded_model
    from luthier.adapt.verify import verified_report
    from luthier.evaluate.runner import render_prompts
    from luthier.evaluate.settings import require_reach
    from luthier.methods import load_adapted
    from luthier.models.load import ModelHandle

    console = console or Console()
    tuned = as_run(target)
    if target and not tuned:
        overrides = {**(overrides or {}), "model.id": str(target)}
    resolved = configure_for(tuned, config, overrides)
    if target and not tuned and is_missing_run(Path(target), resolved.output):
        raise DataError(
            "there is no such run", where=str(target), fix="list the runs with 'luthier runs'"
        )
    require_reach(resolved.evaluate, "data")
    own = tuned_model(tuned) if tuned else None
    if own:
        require_reach(resolved.evaluate, "tuned")
    setup = prepare(resolved, console, find_model)
    shots = resolved.prompt.shots
    render_prompts(setup.renderer, setup.task(shots))
    run = tuned or open_run(resolved, "evaluate", setup.dataset.task, setup.handle.id)
    with writing(run, console):
        if not tuned:
            write_manifest(run, setup, "evaluate")
            _save_config(run, setup.config)
        if tuned and own:
            check_template(tuned, setup, console)
            model: Model = load_adapted(own, resolved.base_of(resolved.method), console)
            found = check_contamination(setup, run, console)
        else:
            model, found = loaded_model(setup.handle, resolved.evaluate), None
        adapter = resolved.method if own else ""
        evaluation = measure_model(setup, shots, run, model, console, adapter, found)
        if own and isinstance(setup.handle, ModelHandle):
            write_card(run, setup.handle)  # with the scores
        return EvaluateResult(run, *evaluation, verified_report(run, console))


def prompt(
    config: Configuration = None,
    overrides: Overrides = None,
    console: Console | None = None,
    *,
    ask: str | None = None,
    run: str | Path | None = None,
    num: int = 3,
) -> tuple[SampleRecord, ...]:
    """Ask a model, with ``prompt.shots`` worked examples before the question.

    Args:
        config: the configuration; None: that of the run, or the defaults.
        overrides: changed values.
        console: shows progress.
        ask: a question of your own; None: the first test examples of the task.
        run: a tuned run to ask instead of the base model.
        num: how many test examples to ask.

    Raises:
        LuthierError: see `luthier.core.errors`.
    """
    from luthier.adapt.ask import ask_model

    tuned = RunDirectory.open(Path(run)) if run else None
    resolved = configure_for(tuned, config, overrides)
    return ask_model(resolved, console or Console(), tuned, ask, num)


def merge(
    run: str | Path,
    output: str | Path | None = None,
    console: Console | None = None,
    *,
    base: str | None = None,
    overrides: Overrides = None,
) -> MergeResult:
    """Merge an adapter into its base model, check that both agree, and save the whole.

    Args:
        run: a finished tuning, or a rung of an adapt run; or an adapter, as a folder or a Hub id.
        output: a folder for the merged model; None: ``merged`` in the run.
        console: shows progress.
        base: the model that an adapter belongs to; None: the one that it names.
        overrides: what a stored run may not decide by itself, and an adapter's model settings, such
            as ``{"model.trust_remote_code": True}``.

    Raises:
        UsageError: there is no adapter, or one that cannot be merged; or no folder to save to.
        DataError: merged and unmerged disagree, or an artefact is damaged.
    """
    from luthier.adapt.merging import merge_adapter, merge_run, names_adapter

    if names_adapter(str(run)):
        if output is None:
            raise UsageError(
                "an adapter has no run directory that the merged model could go into",
                where=str(run),
                fix="name a folder with --output",
            )
        own = {"model.id": str(run), "model.base": base}
        model = configure(None, {**grants(overrides or {}), **own}).model
        merged = merge_adapter(model, Path(output), console or Console())
        return MergeResult(Path(output), merged.difference, merged.tolerance, merged.positions)
    if base is not None:
        raise UsageError("a run knows its base model", where=str(run), fix="leave --base out")
    opened = RunDirectory.open(Path(run))
    folder = Path(output) if output else opened.merged
    with writing(opened, console):
        merged = merge_run(opened, folder, console or Console(), grants(overrides or {}))
    return MergeResult(folder, merged.difference, merged.tolerance, merged.positions)


def report(run: str | Path, console: Console | None = None) -> Path:
    """Write ``report.html`` and ``report.md`` again; the path of the former.

    Figures are computed again from what they were made of, as far as that is stored.

    Args:
        run: the run directory.
        console: is told what could not be checked.

    Raises:
        DataError: ``run`` is no run directory, has no results yet, or a stored figure is not what
            lies beside it gives.
    """
    from luthier.adapt.verify import verified_report

    return verified_report(RunDirectory.open(Path(run)), console or Console())


def forecast(
    config: Configuration = None,
    overrides: Overrides = None,
    console: Console | None = None,
    *,
    kind: Literal["adapt", "tune"] = "adapt",
) -> Forecast:
    """Make every check short of loading weights and training: the dry run of adapt and tune.

    Args:
        config: the configuration.
        overrides: changed values.
        console: shows progress.
        kind: ``adapt``: the methods of all rungs; ``tune``: the configured method.

    Raises:
        LuthierError: whatever the real run would find before it trains.
    """
    from luthier.adapt import prepare
    from luthier.adapt.fitting import warn_of_long_tests
    from luthier.adapt.forecast import (
        check_adapt,
        check_tune,
        forecast_run,
        without_long_tests,
    )
    from luthier.adapt.manifest import check_manifest
    from luthier.evaluate.settings import require_reach

    resolved, console = configure(config, overrides), console or Console()
    if kind == "adapt":
        require_reach(resolved.evaluate, "ladder")
    setup = prepare(resolved, console)
    if kind == "adapt":
        setup = without_long_tests(setup, console)
    else:
        long = setup.long_tests(setup.asking(resolved.prompt.shots, resolved.method))
        warn_of_long_tests(setup.dataset, long, console)
    checks = {"adapt": check_adapt, "tune": check_tune}
    checked = checks[kind](setup)
    name = "adapt" if kind == "adapt" else f"tune-{resolved.method}"
    run = RunDirectory.rehearse(
        resolved.output, resolved.run_name(name, setup.dataset.task, setup.handle.id)
    )
    check_manifest(run, setup)
    return forecast_run(setup, run, checked)


def calibrate(console: Console | None = None) -> Calibration:
    """Measure this machine, in less than half a minute, and keep the result for later plans."""
    from luthier.models.calibrate import calibrate as measure

    return measure(console or Console())


def trace_plan(question: Question) -> PlanCheck:
    """The plan of a step on one CPU, and its trace: the real code on tensors without data.

    Both count the tensors alone, with two micro-batches, as in the steady state of a training.

    Raises:
        UsageError: a method, precision or layout that this project's loop does not have yet.
        DataError: no configuration of this model is known.
    """
    from luthier.adapt.second_opinion import trace_question

    return trace_question(question)


def check_plans(runs: Sequence[str | Path]) -> tuple[PlanCheck, ...]:
    """What was predicted and measured in each of ``runs``, and in their rungs.

    Raises:
        DataError: no run directory, or no plan with a measurement in any of them.
    """
    from luthier.adapt.planning import measured_plans

    return measured_plans([RunDirectory.open(Path(run)) for run in runs])


def as_run(target: str | Path | None) -> RunDirectory | None:
    """The run directory at ``target``, or None if that is something else."""
    if target is None or not (Path(target) / "config.yaml").is_file():
        return None
    return RunDirectory.open(Path(target))


def configure_for(
    run: RunDirectory | None, config: Configuration = None, overrides: Overrides = None
) -> RunConfig:
    """The configuration that is given, or else that of the run, as far as it may decide.

    Raises:
        UsageError: an unknown key or a wrong value; or the run asks for what was not given.
    """
    if run is None or not (config is None or _is_of(run, config)):
        return configure(config, overrides)
    return stored_config(run, overrides)


def _is_of(run: RunDirectory, config: RunConfig | Path | str) -> bool:
    """Whether a configuration is named by the file in which the run has stored its own."""
    return not isinstance(config, RunConfig) and Path(config).resolve() == run.config.resolve()


def open_run(config: RunConfig, kind: str, task: str, model: str) -> RunDirectory:
    """The directory of the run that `RunConfig.run_name` names; it is made where it is missing."""
    return RunDirectory.create(config.output, config.run_name(kind, task, model))


def _save_config(run: RunDirectory, config: RunConfig) -> None:
    """Store the resolved configuration, so that running it again goes on with this run."""
    save_config(run, config.model_copy(update={"name": run.name}))
