"""Evaluation results: metrics with intervals, samples, and scores of suites."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from luthier.core.errors import DataError
from luthier.core.names import listed
from luthier.records.base import Count, Estimate, Record, Seconds
from luthier.records.classes import Abstention, ClassReport, Reliability


class MetricResult(Estimate):
    """A metric on a set of examples, with the signature that makes it comparable."""

    name: str
    signature: str
    higher_is_better: bool = True
    detectable: float | None = None
    """The smallest difference between two systems detected with a power of 80 %, for uncorrelated
    scores; correlation makes it smaller."""


class TemplateStamp(Record):
    """The template that rendered the prompts."""

    id: str
    hash: str


class ModelStamp(Record):
    """The evaluated model.

    For a model on a server (``endpoint``, its URL), the weights are unknown: ``parameters`` is 0,
    and the revision comes from the server's model list.
    """

    id: str
    revision: str = ""
    parameters: Count
    dtype: str
    architecture: str
    endpoint: str = ""


class EvaluationRecord(Record):
    """``evaluation/<task>.json``.

    A benchmark task adds the source of its wording (``format``), the ``version`` of its definition,
    and the wording of each label.
    """

    task: str
    split: str
    model: ModelStamp
    adapter: str = ""
    template: TemplateStamp
    shots: Count
    chat_template: bool
    metrics: tuple[MetricResult, ...]
    clean: tuple[MetricResult, ...] = ()
    """The metrics on test examples that do not overlap with the training data, if some do."""
    seconds: Seconds
    generated_tokens: Count
    prompt_tokens: Count
    truncated_outputs: Count
    versions: dict[str, str]
    format: str = ""
    version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    cut_prompts: Count = 0
    """Number of prompts truncated at the start to fit the context window."""
    drawn: str = ""
    """The measured subset of rows, in words; empty if all were measured."""
    other_shots: Count = 0
    """Number of questions that occur among the shots and got the next shot instead."""
    fewer_shots: Count = 0
    """Number of questions with fewer shots, because not all fit."""
    unfinished: Count = 0
    """Number of answers cut off during reasoning, which count as empty."""
    seed: int | None = None
    resamples: int | None = Field(default=None, ge=1, le=10**6)
    """Seed of the resamples; None in records of earlier versions."""
    by_class: ClassReport | None = None
    """Results by class; None unless all examples share a closed set of answers, each has one right
    answer, and there are at most 50 classes."""
    reliability: Reliability | None = None
    """How far the probabilities can be trusted; None unless all choices were scored."""
    abstention: Abstention | None = None
    """The answers with at least the confidence of evaluate.abstain."""

    def metric(self, name: str) -> MetricResult:
        """The result of the metric called ``name``.

        Raises:
            DataError: it was not computed.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise DataError(
            f"the metric {name!r} was not computed for {self.task}",
            fix=f"computed metrics: {listed(metric.name for metric in self.metrics)}",
        )


class SampleRecord(Record):
    """A line of ``evaluation/<task>.samples.jsonl``.

    Attributes:
        question_id: groups several samples that are scored together, such as answers to one
            question.
        choices: the closed set of answers; labels where labels have wordings.
        words: the wording scored for each choice.
        likelihoods: the log-probability of each of ``words``, in nats; less that in
            ``unconditional``, if there is one.
        unconditional: the log-probability of each of ``words`` after an empty question, in nats;
            empty without calibration.
        extracted: the answers found in generated text, by extractor.
        accepted: the references, normalised like the extracted answers.
        counts: the length of the text in words, bytes and tokens.
        generated: the full generated text, if the prediction is only a part of it, as after
            reasoning.
        contexts: the text before the answer for each choice, if choices differ in it.
    """

    id: str
    group: str = ""
    prompt: str
    prediction: str
    references: tuple[str, ...]
    choices: tuple[str, ...] = ()
    scores: dict[str, float]
    finish: Literal["stop", "length"]
    question_id: str = ""
    words: tuple[str, ...] = ()
    likelihoods: tuple[float, ...] = ()
    unconditional: tuple[float, ...] = ()
    extracted: dict[str, str] = Field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    counts: dict[str, Count] = Field(default_factory=dict)
    generated: str = ""
    contexts: tuple[str, ...] = ()


class SuiteRecord(Record):
    """``suites/<name>.json``: scores computed from several tasks.

    Attributes:
        scores: the overall score, then its categories.
        tasks: the measured tasks.
        missing: tasks that were not measured; the score then differs from the published one.
    """

    suite: str
    format: str
    shots: tuple[Count, ...]
    scores: tuple[MetricResult, ...]
    tasks: tuple[str, ...]
    missing: tuple[str, ...] = ()
