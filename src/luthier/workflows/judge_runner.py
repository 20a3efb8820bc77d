"""Running a judge: load it once, judge the answers of runs, and store the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from luthier.config import RunConfig
from luthier.context.evaluated_model import EvaluatedModel
from luthier.context.found_model import find_model
from luthier.core.console import Console
from luthier.core.files import write_lines
from luthier.evaluation import Resampling
from luthier.evaluation.judge import (
    JudgeTemplate,
    WinRate,
    judged_pairs,
    load_judge_template,
    tally,
)
from luthier.evaluation.runner import measure
from luthier.evaluation.settings import require_reach
from luthier.prompts.renderer import Renderer
from luthier.records.comparison import Judgement
from luthier.records.evaluation import SampleRecord
from luthier.records.result_cache import ResultCache
from luthier.records.run_directory import RunDirectory
from luthier.records.run_lock import writing


@dataclass(frozen=True, slots=True)
class Judge:
    """A model that compares answers.

    Attributes:
        subject: the judge model.
        renderer: renders its prompts.
        template: the judge's prompt template.
        resampling: the resampling for the interval of a win rate.
    """

    subject: EvaluatedModel
    renderer: Renderer
    template: JudgeTemplate
    resampling: Resampling

    def compare(
        self,
        run: RunDirectory,
        task: str,
        baseline: str,
        pairs: Sequence[SampleRecord],
        console: Console,
    ) -> Judgement:
        """Judge the answers of ``run``, and store the result there.

        Verdicts are stored as they arrive; after an interruption, the same call continues.

        Args:
            run: the candidate.
            task: the task of the answers.
            baseline: the name of the other system.
            pairs: the output of `paired_answers`.
            console: shows progress.

        Raises:
            DataError: a prompt leaves no room for the verdict.
            ResourceError: the run directory is not writable, or a server cannot be reached.
        """
        with writing(run, console):
            engine = self.subject.engine(ResultCache(run.verdicts))
            judged = judged_pairs(engine, self.renderer, self.template, pairs, console)
            judgement = self._judgement(run.name, task, baseline, judged)
            lines = (pair.model_dump(mode="json") for pair in judged)
            write_lines(run.judged_pairs(task, baseline), lines)
            judgement.write(run.judgement(task, baseline))
            if 2 * judgement.unread > len(judged):
                console.warn(
                    f"{judgement.unread:,} of {len(judged):,} verdicts on {run.name} cannot be "
                    "read and count as ties, so the win rate is not meaningful"
                )
            return judgement

    def _judgement(
        self, candidate: str, task: str, baseline: str, judged: Sequence[SampleRecord]
    ) -> Judgement:
        stamp = self.subject.stamp
        metric = WinRate(stamp, self.template.stamp)
        return Judgement(
            task=task,
            candidate=candidate,
            baseline=baseline,
            judge=stamp,
            template=self.template.stamp,
            win_rate=measure(metric, judged, self.resampling),
            seed=self.resampling.seed,
            resamples=self.resampling.resamples,
            **tally(judged),
        )


def load_judge(config: RunConfig, template: str | Path | None, console: Console) -> Judge:
    """The configuration's model as a judge.

    Args:
        config: the configuration with the judge as its model.
        template: a YAML file; None: Luthier's own template.
        console: shows progress.

    Raises:
        UsageError, DataError, ResourceError: the template or the model is invalid or missing, or a
            setting has no effect on a judge.
    """
    require_reach(config.evaluate, "judge")
    asked = load_judge_template(template)
    found = find_model(config.model, console)
    renderer = found.renderer(config.prompt)
    subject = found.load(config.evaluate)
    return Judge(subject, renderer, asked, Resampling.of(config.evaluate, config.seed))
