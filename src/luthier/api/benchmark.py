"""Evaluate models and runs on benchmark tasks: `luthier evaluate --tasks`, `luthier submit`."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.api.results import BenchmarkResult
from luthier.config import RunConfig
from luthier.config.stored import save_config, stored_config
from luthier.context.run_or_model import find_target
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.files import write_atomically, write_json
from luthier.core.units import counted
from luthier.records.evaluation import EvaluationRecord, SuiteRecord
from luthier.records.result_cache import ResultCache
from luthier.records.run_directory import FORMAT, RunDirectory
from luthier.records.run_lock import writing

if TYPE_CHECKING:
    from luthier.context.evaluated_model import EvaluatedModel
    from luthier.evaluation.asking.encode import TaskEncoder
    from luthier.evaluation.asking.prepared import PreparedTask
    from luthier.tasks.load import Selection

from luthier.api.configuration import Configuration, Overrides, configure, open_run

_NAMED = 8
"""Maximum number of tasks without data named in a warning."""


def benchmark(
    targets: Sequence[str | Path],
    tasks: Sequence[str] = (),
    config: Configuration = None,
    overrides: Overrides = None,
    console: Console | None = None,
    *,
    shots: int | None = None,
    limit: int | None = None,
    chat_template: bool | None = None,
) -> tuple[BenchmarkResult, ...]:
    """Evaluate models and runs on benchmark tasks, all with the same questions.

    Args:
        targets: run directories and models; empty: the configuration's model.
        tasks: names of tasks and suites, or YAML files; empty: ``evaluate.tasks``.
        config: the configuration.
        overrides: changed settings.
        console: shows progress.
        shots: number of shots before each question; None: each task's own.
        limit: maximum rows per task, chosen by ``evaluate.limit_draw``; None: all.
        chat_template: whether tasks are asked through the models' chat templates, with shots as
            turns; None: ``evaluate.task_chat_template``.

    Settings of ``evaluate`` that differ from their defaults override those of the tasks.

    Raises:
        UsageError: a task cannot use one of the settings, or one has no effect on tasks.
        LuthierError: a named task has no data, among others; see `luthier.core.errors`. Tasks of a
            suite without data are left out with a warning, as long as one has data.

    Example:
        >>> import luthier
        >>> (result,) = luthier.benchmark(["runs/tuned"], ["my-task.yaml"], shots=2)
        >>> scores = result.to_pandas()[["task", "metric", "value", "low", "high"]]
    """
    from luthier.evaluation.asking import select_tasks

    console = console or Console()
    asked = {
        "evaluate.tasks": list(tasks) or None,
        "evaluate.task_shots": shots,
        "evaluate.limit": limit,
        "evaluate.task_chat_template": chat_template,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    resolved = configure(config, {**(overrides or {}), **given})
    selection = _with_settings(select_tasks(resolved.evaluate.tasks), resolved, console)
    prepared = _prepare(selection, resolved, console)
    _require_unseen(targets, prepared, resolved, console)
    return tuple(
        _measure(target, resolved, prepared, selection, console) for target in targets or (None,)
    )


def submit(
    target: str | Path | None,
    tasks: Sequence[str],
    folder: str | Path,
    config: Configuration = None,
    overrides: Overrides = None,
    console: Console | None = None,
    *,
    shots: int | None = None,
) -> tuple[Path, ...]:
    """Predict the unlabelled split of tasks, and write it in their leaderboard's format.

    Args:
        target: a run directory or a model; None: the configuration's model.
        tasks: names of tasks and suites.
        folder: the folder for the files.
        config: the configuration.
        overrides: changed settings.
        console: shows progress.
        shots: number of shots before each question; None: each task's own.

    Returns:
        The files.

    Raises:
        UsageError: a task has no leaderboard.
        DataError: the data of a task is missing or invalid.

    Example:
        >>> import luthier
        >>> files = luthier.submit("runs/tuned", ["glue/rte"], "submission")  # doctest: +SKIP
    """
    from luthier.evaluation.asking import select_tasks
    from luthier.evaluation.asking.prepared import prepare_task
    from luthier.evaluation.benchmark import predict_benchmark
    from luthier.evaluation.settings import require_reach

    console = console or Console()
    resolved = configure(config, overrides)
    written: list[Path] = []
    wanted = []
    require_reach(resolved.evaluate, "submission")
    shots = resolved.evaluate.task_shots if shots is None else shots
    for task in _with_settings(select_tasks(tasks), resolved, console).tasks:
        if task.submission is None:
            raise UsageError(
                f"{task.name} has no leaderboard for submissions",
                fix="name tasks of GLUE or SuperGLUE, or add a submission to your task",
            )
        unlabelled = task.submission.split
        prepared = prepare_task(task, shots=shots, seed=resolved.seed, split=unlabelled)
        wanted.append((task.submission, prepared))
    measured = _load(target, resolved, console)
    engine = measured.subject.engine()
    for submission, prepared in wanted:
        samples = predict_benchmark(engine, measured.encoder, prepared, console)
        written.append(Path(folder) / submission.file)
        write_atomically(written[-1], submission.text(samples))
    return tuple(written)


def _with_settings(selection: Selection, config: RunConfig, console: Console) -> Selection:
    """The tasks with the settings of ``evaluate``; suites note any replaced metrics.

    Raises:
        UsageError: a task cannot use one of them, or one has no effect on tasks.
    """
    from luthier.evaluation.settings import require_reach, require_turns, with_settings

    require_reach(config.evaluate, "tasks")
    if config.evaluate.task_chat_template:
        require_turns(selection.tasks)
    changed = replace(
        selection, tasks=tuple(with_settings(task, config) for task in selection.tasks)
    )
    metrics = config.evaluate.metrics
    if metrics is None or not selection.suites:
        return changed
    console.warn(
        "evaluate.metrics replaces the metrics of suites, so their scores differ from the "
        "published ones; leave it out for suites"
    )
    note = f"metrics {', '.join(metrics)}"
    suites = tuple(
        suite.model_copy(update={"format": f"{suite.format}, {note}"}) for suite in selection.suites
    )
    return replace(changed, suites=suites)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A model ready for evaluation.

    Attributes:
        config: the configuration with this model.
        run: the run that tuned it, or that was named; None: an untuned model.
        adapter: the tuning method, if any.
        subject: the evaluated model.
        encoder: encodes its prompts.
    """

    config: RunConfig
    run: RunDirectory | None
    adapter: str
    subject: EvaluatedModel
    encoder: TaskEncoder[Any]


def _load(target: str | Path | None, config: RunConfig, console: Console) -> _Measured:
    from luthier.context.evaluated_model import in_memory
    from luthier.context.found_model import find_model
    from luthier.evaluation.settings import require_reach
    from luthier.methods import load_adapted

    found = find_target(target, console)
    found.require_present(config.output)
    run, tuned = found.run, found.tuned
    if run:
        config = stored_config(run, _asked(config), alike=config, parts=("model",))
    elif found.model:
        config = configure(config, {"model.id": found.model})
    subject: EvaluatedModel
    if tuned:
        require_reach(config.evaluate, "tuned")
        loaded = load_adapted(tuned, config.base_of(config.method), console)
        subject = in_memory(loaded, config.evaluate)
    else:
        subject = find_model(config.model, console).load(config.evaluate)
    return _Measured(
        config=config,
        run=run,
        adapter=config.method if tuned else "",
        subject=subject,
        encoder=subject.task_encoder(config),
    )


def _asked(config: RunConfig) -> dict[str, Any]:
    """The settings that replace those of a stored run."""
    return {"evaluate": config.evaluate.model_dump(mode="json")}


def _require_unseen(
    targets: Sequence[str | Path],
    prepared: Sequence[PreparedTask],
    config: RunConfig,
    console: Console,
) -> None:
    from luthier.context.unseen_rows import require_unseen

    for target in targets:
        found = find_target(target, Console(quiet=True))
        if found.run and found.tuned:
            require_unseen(found.run, prepared, config, _asked(config), console)


def _prepare(selection: Selection, config: RunConfig, console: Console) -> tuple[PreparedTask, ...]:
    """The tasks that have data."""
    from luthier.data.task_rows import MissingDataError
    from luthier.evaluation.asking.prepared import prepare_task

    prepared: list[PreparedTask] = []
    missing: dict[str, MissingDataError] = {}
    with console.progress("reading tasks", len(selection.tasks)) as advance:
        for task in selection.tasks:
            settings = config.evaluate
            try:
                prepared.append(
                    prepare_task(
                        task,
                        shots=settings.task_shots,
                        limit=settings.limit,
                        limit_draw=settings.limit_draw,
                        seed=config.seed,
                    )
                )
            except MissingDataError as error:
                if task.name in selection.named:
                    raise
                missing[task.name] = error
            advance()
    if not prepared:
        raise next(iter(missing.values()))
    for note in dict.fromkeys(note for one in prepared for note in one.notes):
        console.warn(note)
    if missing:
        names = ", ".join(list(missing)[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
        tasks = counted(len(selection.tasks), "task")
        console.warn(
            f"left out {len(missing)} of {tasks} for lack of data, so "
            f"the scores of suites differ from the published ones: {names}. "
            f"The first: {next(iter(missing.values()))}"
        )
    return tuple(prepared)


def _measure(
    target: str | Path | None,
    config: RunConfig,
    prepared: Sequence[PreparedTask],
    selection: Selection,
    console: Console,
) -> BenchmarkResult:
    measured = _load(target, config, console)
    run = measured.run or _new_run(measured)
    with writing(run, console):
        return _measure_in(run, measured, config, prepared, selection, console)


def _measure_in(
    run: RunDirectory,
    measured: _Measured,
    config: RunConfig,
    prepared: Sequence[PreparedTask],
    selection: Selection,
    console: Console,
) -> BenchmarkResult:
    from luthier.api.report import verified_report
    from luthier.evaluation import Resampling, with_details, write_evaluation
    from luthier.evaluation.benchmark import evaluate_benchmark
    from luthier.tasks.suite import score_suite

    resampling = Resampling.of(measured.config.evaluate, config.seed)
    records: list[EvaluationRecord] = []
    for task in prepared:
        evaluation = evaluate_benchmark(
            measured.subject.engine(ResultCache(run.answers(task.task.name))),
            measured.encoder,
            task,
            measured.subject.stamp,
            resampling,
            console,
            adapter=measured.adapter,
        )
        threshold = measured.config.evaluate.abstain
        evaluation = with_details(evaluation, resampling, threshold, console)
        write_evaluation(run, evaluation.record, evaluation.samples)
        records.append(evaluation.record)
    names = {record.task for record in records}
    scores = [score_suite(s, records) for s in selection.suites if names & {*s.tasks}]
    for score in scores:
        score.write(run.suite(score.suite))
    _score_again(run, names, {score.suite for score in scores})
    return BenchmarkResult(run, tuple(records), tuple(scores), verified_report(run, console))


def _score_again(run: RunDirectory, measured: Set[str], scored: Set[str]) -> None:
    """Recompute the suites of earlier commands whose tasks were measured again."""
    from luthier.evaluation import load_evaluation
    from luthier.evaluation.asking import load_task
    from luthier.tasks.load import task_names
    from luthier.tasks.suite import Suite, score_suite

    for path in run.suites():
        stored = SuiteRecord.read(path)
        if stored.suite in scored or not measured & {*stored.tasks}:
            continue
        suite = load_task(stored.suite) if stored.suite in task_names() else None
        if isinstance(suite, Suite):
            found = [load_evaluation(run, task).record for task in stored.tasks]
            suite = suite.model_copy(update={"format": stored.format})
            score_suite(suite, found).write(path)


def _new_run(measured: _Measured) -> RunDirectory:
    """The directory of a model that is evaluated on tasks only."""
    from luthier.context.manifest import hardware, versions

    config, stamp = measured.config, measured.subject.stamp
    run = open_run(config, "evaluate", "tasks", stamp.id)
    save_config(run, config.model_copy(update={"name": run.name}))
    manifest = {
        "format": FORMAT,
        "kind": "evaluate",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": config.seed,
        "versions": versions(),
        "hardware": hardware(),
        "model": {"id": stamp.id, "revision": stamp.revision},
    }
    write_json(run.manifest, manifest)
    return run
