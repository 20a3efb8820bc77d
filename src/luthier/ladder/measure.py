"""Measurement of one rung: tune if needed, answer the test examples, measure forgetting."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from luthier.config.load import override
from luthier.config.stored import save_config
from luthier.context.base_model import BaseModel
from luthier.context.evaluated_model import in_memory
from luthier.context.evaluation_task import evaluation_task
from luthier.context.fingerprints import training_fingerprint
from luthier.context.run_context import RunContext
from luthier.context.stored_prompting import store_prompting
from luthier.core.console import Console
from luthier.evaluation import (
    Evaluation,
    measure_forgetting,
    one_sided_answers,
    unusable_answers,
)
from luthier.evaluation.baselines import fit_baseline
from luthier.inference import TextLoss
from luthier.ladder.budget import TimeBudget
from luthier.ladder.rungs import BaselineRung, PromptRung, Rung, TuningRung
from luthier.models.device import PeakMemory, default_device
from luthier.models.load import LoadedModel
from luthier.records.contamination import Contamination
from luthier.records.forgetting import Forgetting
from luthier.records.ladder import RungRecord
from luthier.records.run_directory import RunDirectory
from luthier.workflows.measure import (
    general_losses,
    measure_model,
    measure_predictor,
    resampling_of,
)
from luthier.workflows.model_card import write_card
from luthier.workflows.tune import tuned_model


@dataclass(frozen=True, slots=True)
class RungMeasurer:
    """The inputs that all rungs of a ladder share.

    Attributes:
        context: data, prompts, model and settings.
        run: the run directory of the ladder.
        base: the base model.
        budget: the time budget.
        console: shows progress.
        contamination: the test examples that overlap with the training data, if searched for.
    """

    context: RunContext
    run: RunDirectory
    base: BaseModel
    budget: TimeBudget
    console: Console
    contamination: Contamination | None = None

    def open_rung(self, rung: Rung, **changes: Any) -> RunDirectory:
        """The run directory of a rung, with all that evaluates it, and asks it, on its own.

        Args:
            rung: the rung.
            changes: the settings in which it differs from the ladder; ``__`` stands for a dot.
        """
        run = self.run.rung(rung.name)
        changed = {key.replace("__", "."): value for key, value in changes.items()}
        config = override(self.context.config, changed)
        save_config(run, config)
        store_prompting(run, self.context, config.prompt.shots)
        return run

    def evaluate(
        self, run: RunDirectory, loaded: LoadedModel, *, shots: int = 0, adapter: str = ""
    ) -> Evaluation:
        """The evaluation of a model on the test examples."""
        return measure_model(
            self.context,
            shots,
            run,
            in_memory(loaded, self.context.config.evaluate),
            self.console,
            adapter=adapter,
            contamination=self.contamination,
        )

    def forgetting(
        self, run: RunDirectory, before: Sequence[TextLoss], loaded: LoadedModel
    ) -> Forgetting | None:
        """The change of the loss on general text since ``before``, stored in ``run``."""
        name = self.context.config.evaluate.general_text
        if name is None:
            return None
        after = general_losses(self.context, run, loaded)
        forgetting = measure_forgetting(before, after, name, resampling_of(self.context))
        forgetting.write(run.forgetting)
        return forgetting


@singledispatch
def measure_rung(rung: Rung, measurer: RungMeasurer) -> RungRecord:
    """The record of a rung after measuring it; its run directory holds the details.

    Raises:
        DataError: a baseline cannot learn from the training examples.
        ResourceError: memory does not suffice, or a file cannot be written.
        DivergedError: its training diverged.
        PreemptedError: a signal requested a stop.
    """
    raise NotImplementedError(rung.name)


@measure_rung.register
def _(rung: BaselineRung, measurer: RungMeasurer) -> RungRecord:
    context, run = measurer.context, measurer.open_rung(rung)
    started = time.monotonic()
    baseline = fit_baseline(rung.baseline, context.dataset.train)
    baseline.save(run.path)
    seconds = time.monotonic() - started
    evaluation = measure_predictor(
        context,
        evaluation_task(context, 0),
        run,
        baseline,
        baseline.stamp(rung.name),
        measurer.console,
        contamination=measurer.contamination,
    )
    return _record(rung, evaluation, train_seconds=seconds)


@measure_rung.register
def _(rung: PromptRung, measurer: RungMeasurer) -> RungRecord:
    run = measurer.open_rung(rung, prompt__shots=rung.shots)
    memory = PeakMemory(default_device())
    evaluation = measurer.evaluate(run, measurer.base.get(), shots=rung.shots)
    return _record(
        rung,
        evaluation,
        **_answered(evaluation),
        peak_memory_bytes=memory.read(),
    )


@measure_rung.register
def _(rung: TuningRung, measurer: RungMeasurer) -> RungRecord:
    context = measurer.context
    run = measurer.open_rung(rung, method=rung.method, prompt__shots=0)
    # Without general text the base is not needed; as stored it may be too large to load.
    texts = context.general_texts
    before = general_losses(context, measurer.run, measurer.base.get()) if texts else []
    memory = PeakMemory(default_device())
    limit = measurer.budget.training_time(context.config.train.max_time)
    loaded, training = tuned_model(
        context, rung.method, measurer.base, run, limit, measurer.console
    )
    evaluation = measurer.evaluate(run, loaded, adapter=rung.method)
    record = _record(
        rung,
        evaluation,
        **_answered(evaluation),
        peak_memory_bytes=max(memory.read(), training.peak_memory_bytes),
        training=training,
        trained_parameters=training.trained_parameters,
        artifact_bytes=training.artifact_bytes,
        train_seconds=training.seconds,
        forgetting=measurer.forgetting(run, before, loaded),
    )
    write_card(run, context.weights())  # includes the scores
    return record


@singledispatch
def inputs_of(rung: Rung, context: RunContext) -> tuple[str, ...]:
    """The inputs of a rung's result beside those that all rungs share, as text."""
    raise NotImplementedError(rung.name)


@inputs_of.register
def _(rung: BaselineRung, context: RunContext) -> tuple[str, ...]:
    del context
    return (rung.name,)


@inputs_of.register
def _(rung: PromptRung, context: RunContext) -> tuple[str, ...]:
    del context
    return str(rung.shots), ""


@inputs_of.register
def _(rung: TuningRung, context: RunContext) -> tuple[str, ...]:
    return "0", training_fingerprint(context, rung.method)


def _answered(evaluation: Evaluation) -> dict[str, str]:
    """The faults of a model's answers, whatever they score."""
    samples = evaluation.samples
    return {"unusable": unusable_answers(samples), "one_sided": one_sided_answers(samples)}


def _record(rung: Rung, evaluation: Evaluation, **more: Any) -> RungRecord:
    record = evaluation.record
    return RungRecord(
        name=rung.name,
        status="done",
        metric=record.metrics[0],
        metrics=record.metrics,
        clean=next(iter(record.clean), None),
        truncated=record.truncated_outputs,
        evaluate_seconds=record.seconds,
        **more,
    )
