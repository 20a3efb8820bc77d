"""Measuring one rung: tune if it tunes, answer the test examples, look for forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.adapt.base_model import BaseModel
from luthier.adapt.budget import TimeBudget
from luthier.adapt.rungs import Rung
from luthier.adapt.setup import Setup
from luthier.adapt.tuning import tuned_model
from luthier.config.load import to_yaml
from luthier.config.methods import MethodName
from luthier.core.console import Console
from luthier.core.files import write_atomically
from luthier.core.records import Contamination, EvaluationRecord, Forgetting, RungRecord
from luthier.core.run_directory import RunDirectory
from luthier.evaluate import (
    Resampling,
    evaluate_task,
    load_general_losses,
    measure_forgetting,
    measure_general,
    with_clean_part,
    write_evaluation,
    write_general_losses,
)
from luthier.inference import Engine, TextLoss
from luthier.inference.local import LocalEngine
from luthier.models.device import PeakMemory, default_device
from luthier.models.load import LoadedModel


@dataclass(frozen=True, slots=True)
class RungMeasurer:
    """What all rungs of one ladder share.

    Attributes:
        setup: data, prompts, model and settings.
        run: the run directory of the ladder.
        base: the base model.
        budget: the time.
        console: shows progress.
        contamination: the test examples that the training data contains, where they were looked
            for.
    """

    setup: Setup
    run: RunDirectory
    base: BaseModel
    budget: TimeBudget
    console: Console
    contamination: Contamination | None = None

    def measure(self, rung: Rung) -> RungRecord:
        """Measure ``rung``; its run directory holds what was made.

        Raises:
            ResourceError: it does not fit into memory, or a file cannot be written.
            DivergedError: its training diverged.
            PreemptedError: a signal asked to stop.
        """
        run = self.run.rung(rung.name)
        if rung.method is None:
            self._write_config(run, self.setup.config.method)
            memory = PeakMemory(default_device())
            evaluation = self._evaluate(rung, run, self.base.get())
            return self._record(rung, evaluation, memory)
        self._write_config(run, rung.method)
        before = self._losses(self.run, LocalEngine(self.base.get(), self._batch_tokens))
        memory = PeakMemory(default_device())
        limit = self.budget.training_time(self.setup.config.train.max_time)
        loaded, training = tuned_model(self.setup, rung.method, self.base, run, limit, self.console)
        evaluation = self._evaluate(rung, run, loaded)
        record = self._record(rung, evaluation, memory)
        update = {
            "training": training,
            "trained_parameters": training.trained_parameters,
            "artifact_bytes": training.artifact_bytes,
            "train_seconds": training.seconds,
            "peak_memory_bytes": max(record.peak_memory_bytes, training.peak_memory_bytes),
            "forgetting": self._forgetting(run, before, LocalEngine(loaded, self._batch_tokens)),
        }
        return record.model_copy(update=update)

    @property
    def _batch_tokens(self) -> int:
        return self.setup.config.evaluate.batch_tokens

    @property
    def _resampling(self) -> Resampling:
        return Resampling.of(self.setup.config.evaluate, self.setup.config.seed)

    def _write_config(self, run: RunDirectory, method: MethodName) -> None:
        write_atomically(
            run.config, to_yaml(self.setup.config.model_copy(update={"method": method}))
        )

    def _evaluate(self, rung: Rung, run: RunDirectory, loaded: LoadedModel) -> EvaluationRecord:
        task = self.setup.task(rung.shots)
        evaluation = evaluate_task(
            LocalEngine(loaded, self._batch_tokens),
            self.setup.renderer,
            task,
            loaded.stamp,
            self._resampling,
            self.console,
            adapter=rung.method or "",
        )
        evaluation = with_clean_part(evaluation, task, self.contamination, self._resampling)
        write_evaluation(run, evaluation.record, evaluation.samples)
        return evaluation.record

    def _losses(self, run: RunDirectory, engine: Engine) -> list[TextLoss]:
        """The loss on each general text, measured once and stored in ``run``."""
        texts = self.setup.general_texts
        stored = load_general_losses(run)
        if len(stored) != len(texts):
            stored = measure_general(engine, texts)
            write_general_losses(run, stored)
        return stored

    def _forgetting(
        self, run: RunDirectory, before: Sequence[TextLoss], engine: Engine
    ) -> Forgetting | None:
        name = self.setup.config.evaluate.general_text
        if name is None:
            return None
        after = self._losses(run, engine)
        forgetting = measure_forgetting(before, after, name, self._resampling)
        forgetting.write(run.forgetting)
        return forgetting

    def _record(self, rung: Rung, evaluation: EvaluationRecord, memory: PeakMemory) -> RungRecord:
        return RungRecord(
            name=rung.name,
            status="done",
            metric=evaluation.metrics[0],
            metrics=evaluation.metrics,
            clean=next(iter(evaluation.clean), None),
            evaluate_seconds=evaluation.seconds,
            peak_memory_bytes=memory.read(),
        )
