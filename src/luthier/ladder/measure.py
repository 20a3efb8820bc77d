"""Measurement of one rung: tune if needed, answer the test examples, measure forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from luthier.config.load import override
from luthier.config.stored import save_config
from luthier.context.base_model import BaseModel
from luthier.context.evaluated_model import in_memory
from luthier.context.run_context import RunContext
from luthier.core.console import Console
from luthier.core.method_facts import MethodName
from luthier.evaluation import Evaluation, measure_forgetting, unusable_answers
from luthier.inference import TextLoss
from luthier.ladder.budget import TimeBudget
from luthier.ladder.rungs import Rung
from luthier.models.device import PeakMemory, default_device
from luthier.models.load import LoadedModel
from luthier.records.contamination import Contamination
from luthier.records.forgetting import Forgetting
from luthier.records.ladder import RungRecord
from luthier.records.run_directory import RunDirectory
from luthier.workflows.measure import general_losses, measure_model, resampling_of
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

    def measure(self, rung: Rung) -> RungRecord:
        """The record of ``rung`` after measuring it; its run directory holds the details.

        Raises:
            ResourceError: memory does not suffice, or a file cannot be written.
            DivergedError: its training diverged.
            PreemptedError: a signal requested a stop.
        """
        run = self.run.rung(rung.name)
        if rung.method is None:
            self._write_config(run, rung, self.context.config.method)
            memory = PeakMemory(default_device())
            evaluation = self._evaluate(rung, run, self.base.get())
            return self._record(rung, evaluation, memory.read())
        self._write_config(run, rung, rung.method)
        # Without general text the base is not needed; as stored it may be too large to load.
        texts = self.context.general_texts
        before = general_losses(self.context, self.run, self.base.get()) if texts else []
        memory = PeakMemory(default_device())
        limit = self.budget.training_time(self.context.config.train.max_time)
        loaded, training = tuned_model(
            self.context, rung.method, self.base, run, limit, self.console
        )
        evaluation = self._evaluate(rung, run, loaded)
        record = self._record(
            rung,
            evaluation,
            max(memory.read(), training.peak_memory_bytes),
            training=training,
            trained_parameters=training.trained_parameters,
            artifact_bytes=training.artifact_bytes,
            train_seconds=training.seconds,
            forgetting=self._forgetting(run, before, loaded),
        )
        write_card(run, self.context.weights())  # includes the scores
        return record

    def _write_config(self, run: RunDirectory, rung: Rung, method: MethodName) -> None:
        """Store the configuration with which this rung can be evaluated again on its own."""
        changes = {"method": method, "prompt.shots": rung.shots}
        save_config(run, override(self.context.config, changes))

    def _evaluate(self, rung: Rung, run: RunDirectory, loaded: LoadedModel) -> Evaluation:
        return measure_model(
            self.context,
            rung.shots,
            run,
            in_memory(loaded, self.context.config.evaluate),
            self.console,
            adapter=rung.method or "",
            contamination=self.contamination,
        )

    def _forgetting(
        self, run: RunDirectory, before: Sequence[TextLoss], loaded: LoadedModel
    ) -> Forgetting | None:
        name = self.context.config.evaluate.general_text
        if name is None:
            return None
        after = general_losses(self.context, run, loaded)
        forgetting = measure_forgetting(before, after, name, resampling_of(self.context))
        forgetting.write(run.forgetting)
        return forgetting

    def _record(
        self, rung: Rung, evaluation: Evaluation, peak_memory_bytes: int, **tuned: Any
    ) -> RungRecord:
        record = evaluation.record
        return RungRecord(
            name=rung.name,
            status="done",
            unusable=unusable_answers(evaluation.samples),
            metric=record.metrics[0],
            metrics=record.metrics,
            clean=next(iter(record.clean), None),
            evaluate_seconds=record.seconds,
            peak_memory_bytes=peak_memory_bytes,
            **tuned,
        )
