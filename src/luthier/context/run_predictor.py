"""Predictors of finished runs, which answer new rows as the run's evaluation did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from luthier.config import RunConfig
from luthier.config.stored import described_config, grants, stored_config
from luthier.context.answer_mode import Answering, Shots, drawn_shots
from luthier.context.evaluated_model import EvaluatedModel, in_memory, model_predictor
from luthier.context.found_model import FoundModel, find_model
from luthier.context.manifest import check_template
from luthier.context.prepare import prepare_evaluation
from luthier.context.run_context import RunContext
from luthier.context.run_or_model import named_rung, recommended_rung
from luthier.context.stored_prompting import StoredPrompting, check_prompting, read_prompting
from luthier.core.choices import BaselineName
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.example import Example
from luthier.core.files import read_json
from luthier.core.names import listed, shortened
from luthier.core.row import Row
from luthier.data.class_weights import constant_choices
from luthier.data.conversations import Rules
from luthier.data.questions import Shape
from luthier.evaluation.baselines import load_baseline
from luthier.evaluation.predicting.base import Predictor
from luthier.evaluation.settings import require_reach
from luthier.methods import load_adapted
from luthier.prompts.renderer import Renderer
from luthier.records.result_cache import ResultCache
from luthier.records.results import require_tuned_model, tuned_model
from luthier.records.run_directory import RunDirectory
from luthier.tasks.mixture import MIXTURE

PredictorSource = Callable[[ResultCache | None], Predictor]
"""A predictor that stores its answers in a cache, if one is given."""
_NEEDED = ("model",)
"""The sections of a stored configuration that prediction acts on; no data is read."""
_FREE = ("evaluate.batch_tokens", "evaluate.engine")
"""Settings that affect speed only."""


@dataclass(frozen=True, slots=True)
class RunPredictor:
    """A run that answers new rows; its model is not loaded yet.

    Attributes:
        run: the run directory, or that of a rung.
        shape: the form of the rows, and the task that renders them.
        shots: the few-shot examples before each question.
        chooses: whether answers are chosen among given choices by likelihood.
        load: loads the model.
    """

    run: RunDirectory
    shape: Shape
    shots: Shots
    chooses: bool
    load: Callable[[], PredictorSource]

    @property
    def choices(self) -> tuple[str, ...]:
        """The answers to choose from, if they are the same for all rows."""
        return tuple(dict.fromkeys(constant_choices(self.shape.task).values()))

    def question(self, row: Row) -> Example:
        """The question of a row, as the run's evaluation asks it.

        Raises:
            DataError: a column is missing, empty or malformed.
        """
        return self.shots.before(self.shape.question(row))


def open_predictor(
    name: str | Path,
    console: Console,
    given: Mapping[str, Any] | None = None,
    rung: str | None = None,
) -> RunPredictor:
    """The predictor of a run.

    Args:
        name: a run directory; an adapt run stands for its recommended rung.
        console: shows which rung an adapt run stands for.
        given: settings that a stored run may not decide, and those of speed.
        rung: another rung of the adapt run; None: the recommended one.

    Raises:
        UsageError: there is no such rung, or a setting cannot be given.
        DataError: it is no run, it is not finished, or its files are damaged.
    """
    adapt = RunDirectory.open(Path(name))
    run = named_rung(adapt, rung) if rung else recommended_rung(adapt, console)
    _require_finished(run)
    given = given or {}
    grants({key: value for key, value in given.items() if key not in _FREE})
    stored = read_prompting(run)
    if run.baseline.is_file():
        found = _baseline(run, stored)
    elif stored is None:
        found = _from_data(run, given, console)
    else:
        found = _stored(run, stored, stored_config(run, given, parts=_NEEDED), console)
    if found.shape.format == MIXTURE:
        raise DataError(
            "the run was trained on a mixture, so its rows have no single task",
            where=str(run.path),
            fix="ask it with 'luthier prompt --run', or measure it on each task with 'luthier "
            "evaluate RUN --tasks'",
        )
    if not found.shape.has_questions:
        raise DataError(
            f"rows of the format {shortened(found.shape.format)} are no questions",
            where=str(run.path),
            fix="predict with a run whose data has questions and answers",
        )
    return found


def predictor_with(run: RunDirectory, config: RunConfig, console: Console) -> RunPredictor:
    """The predictor of a run with settings that the user has changed.

    Settings of prompts and data change the task or its few-shot examples, so those are made from
    the data then.

    Raises:
        UsageError, DataError: as in `open_predictor`, or the data is missing.
    """
    stored, described = read_prompting(run), described_config(run)
    if stored and (config.prompt, config.data) == (described.prompt, described.data):
        return _stored(run, stored, config, console)
    return predictor_of(run, prepare_evaluation(config, console), console)


def _require_finished(run: RunDirectory) -> None:
    """Refuse a run without the result that its name promises.

    Raises:
        DataError: a rung was not measured, or a tuning has no model.
    """
    parent = run.parent_run
    if parent != run and not parent.rung_record(run.name).is_file():
        raise DataError(
            f"the rung {run.name} has no result: it was skipped, failed, or is not finished",
            where=str(run.path),
            fix=f"see 'luthier report {parent.path}', or name another rung",
        )
    manifest = read_json(run.manifest) if run.manifest.is_file() else {}
    if isinstance(manifest, dict) and manifest.get("kind") == "tune":
        require_tuned_model(run)


def _baseline(run: RunDirectory, stored: StoredPrompting | None) -> RunPredictor:
    """The predictor of a rung without a model.

    Raises:
        DataError: it stores no task, or its folder has another name than its baseline.
    """
    if stored is None:
        raise _no_task(run)
    names: tuple[BaselineName, ...] = get_args(BaselineName)
    name = next((name for name in names if name == run.name), None)
    if name is None:
        raise DataError(
            "the folder of a baseline is called as the baseline",
            where=str(run.path),
            fix=f"rename it to one of {listed(names)}",
        )
    config = stored_config(run, parts=())
    check_prompting(run, stored, config.prompt)

    def load() -> PredictorSource:
        baseline = load_baseline(name, run.path)
        return lambda _cache: baseline

    return RunPredictor(run, _shape(stored, config), Shots(), stored.record.chooses, load)


def _stored(
    run: RunDirectory, stored: StoredPrompting, config: RunConfig, console: Console
) -> RunPredictor:
    """The predictor of a run that stores how it asks."""
    record = stored.record
    chooses = record.chooses and config.evaluate.choices == "likelihood"
    if record.chat_template:
        prompt = config.prompt.model_copy(update={"chat_template": "auto"})
        config = config.model_copy(update={"prompt": prompt})
    found = find_model(config.model, console)
    config = found.configured(config)
    renderer = found.renderer(config.prompt)
    if record.chat_template:
        renderer = renderer.tokenised().with_template(record.chat_template, str(run.prompting))
    check_prompting(run, stored, config.prompt)
    shots = Shots(record.shots, record.stop)
    longest = config.evaluate.max_new_tokens or record.max_new_tokens
    answering = Answering(config, stored.task, chooses, longest)
    load = _model(run, found, renderer, answering, shots, console)
    return RunPredictor(run, _shape(stored, config), shots, chooses, load)


def _from_data(run: RunDirectory, given: Mapping[str, Any], console: Console) -> RunPredictor:
    """The predictor of a run of an earlier version, which stores no task and no examples.

    Raises:
        DataError: the data that the run was made from is missing or has changed.
    """
    try:
        context = prepare_evaluation(stored_config(run, given), console)
    except DataError as error:
        raise _no_task(run, f": {error.problem} ({error.where})") from None
    manifest = read_json(run.parent_run.manifest)
    made = manifest.get("data") if isinstance(manifest, dict) else None
    if not isinstance(made, dict) or made.get("fingerprint") != context.dataset.fingerprint:
        raise _no_task(run, ": the configured data is not that of the run")
    return predictor_of(run, context, console)


def predictor_of(run: RunDirectory, context: RunContext, console: Console) -> RunPredictor:
    """The predictor of a run with the task and the examples of a context.

    Raises:
        UsageError: the template's content has changed under the same name.
        DataError: there are too few training examples for the shots.
    """
    if tuned_model(run):
        check_template(run, context, console)
    config, answering = context.config, Answering.of(context)
    shots = drawn_shots(context, config.prompt.shots)
    load = _model(run, context.model, context.renderer, answering, shots, console)
    shape = Shape(answering.task, context.dataset.format, Rules.of(config.data))
    return RunPredictor(run, shape, shots, context.chooses, load)


def _no_task(run: RunDirectory, why: str = "") -> DataError:
    return DataError(
        f"this run stores no task and no examples, so it needs the data it was made from{why}",
        where=str(run.path),
        fix="give the data with data.source=…, or make the run again",
    )


def _shape(stored: StoredPrompting, config: RunConfig) -> Shape:
    return Shape(stored.task, stored.record.format, Rules.of(config.data))


def _model(
    run: RunDirectory,
    found: FoundModel,
    renderer: Renderer,
    answering: Answering,
    shots: Shots,
    console: Console,
) -> Callable[[], PredictorSource]:
    """A function that loads the model of a run."""
    tuned = tuned_model(run)
    # The first of several sampled answers is the answer of a single draw.
    once = answering.config.evaluate.model_copy(update={"samples": 1})
    config = answering.config.model_copy(update={"evaluate": once})
    mode = replace(answering, config=config).mode(shots)

    def load() -> PredictorSource:
        model = load_model(found, tuned, config, console)
        return lambda cache: model_predictor(model, renderer, mode, cache)

    return load


def load_model(
    found: FoundModel, tuned: Path | None, config: RunConfig, console: Console
) -> EvaluatedModel:
    """The tuned model of a run, or its base model.

    Args:
        found: the base model.
        tuned: the folder of the tuned model; None: the base model.
        config: the run's configuration.
        console: shows progress.

    Raises:
        UsageError: a setting has no effect on a tuned model.
        DataError: the weights are missing or damaged.
    """
    if tuned is None:
        return found.load(config.evaluate)
    require_reach(config.evaluate, "tuned")
    return in_memory(load_adapted(tuned, config.base_of(config.method), console), config.evaluate)
