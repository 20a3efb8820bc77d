"""A judge at work: it is loaded once, asked about the answers of runs, and its verdicts stored."""

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
        subject: is asked.
        renderer: writes its prompts.
        template: how it is asked.
        resampling: how the interval of a win rate is made.
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
        """Judge the answers of ``run``, and store the outcome there.

        What the judge says is kept as it comes: interrupted, the same call goes on.

        Args:
            run: the candidate.
            task: whose answers they are.
            baseline: what the other system is called.
            pairs: as `paired_answers` makes them.
            console: shows progress.

        Raises:
            DataError: a prompt leaves no room for the verdict.
            ResourceError: the run directory cannot be written, or a server is out of reach.
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
                    "read and count as ties: the win rate says next to nothing"
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
        config: its model is the judge.
        template: a YAML file; None: the template that Luthier brings along.
        console: shows progress.

    Raises:
        UsageError, DataError, ResourceError: the template or the model is wrong or missing, or a
            setting has no effect on a judge.
    """
    require_reach(config.evaluate, "judge")
    asked = load_judge_template(template)
    found = find_model(config.model, console)
    renderer = found.renderer(config.prompt)
    subject = found.load(config.evaluate)
    return Judge(subject, renderer, asked, Resampling.of(config.evaluate, config.seed))
