"""What a run directory holds, as typed records: the only thing that stages share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from luthier.core.errors import DataError
from luthier.core.files import read_json, write_json
from luthier.core.names import listed

Count = Annotated[int, Field(ge=0, le=10**18)]
"""A number of things; a record that somebody else wrote may say anything."""
Seconds = Annotated[float, Field(ge=0, le=1e15)]


class Record(BaseModel):
    """A frozen record that is stored as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def write(self, path: Path) -> None:
        """Store this record atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Load a record.

        Raises:
            DataError: the file is missing, or was not written by this version of Luthier.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            raise DataError(
                f"this is not a {cls.__name__} of this version of Luthier: {error}", where=str(path)
            ) from None


class Estimate(Record):
    """A measured value, never without its interval and sample size."""

    value: float
    low: float
    high: float
    n: Count
    confidence: float = Field(default=0.95, gt=0, lt=1)
    standard_error: float | None = None
    """Clustered where examples belong together; None in records of earlier versions."""
    no_interval: str = ""
    """The reason why no interval can be given; ``low`` and ``high`` are the value then."""


class MetricResult(Estimate):
    """A metric on a set of examples, with the signature that makes it comparable."""

    name: str
    signature: str
    higher_is_better: bool = True
    detectable: float | None = None
    """The least difference from another system that so many examples show 8 times in 10, if the
    scores of the two are not correlated; the more they are, the less."""


class TemplateStamp(Record):
    """Which template rendered the prompts."""

    id: str
    hash: str


class ModelStamp(Record):
    """Which model was used.

    Where a server runs it (``endpoint``, its URL), its weights are not known: ``parameters`` is 0,
    and the revision stands for what the server says of it.
    """

    id: str
    revision: str = ""
    parameters: Count
    dtype: str
    architecture: str
    endpoint: str = ""


class EvaluationRecord(Record):
    """``evaluation/<task>.json``.

    A benchmark task adds whose wording of it was used (``format``), the ``version`` of its
    definition, and the words that stand for each label.
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
    """The metrics on the examples that the training data does not contain, where it has some."""
    seconds: Seconds
    generated_tokens: Count
    prompt_tokens: Count
    truncated_outputs: Count
    versions: dict[str, str]
    format: str = ""
    version: str = ""
    labels: dict[str, str] = {}
    cut_prompts: Count = 0
    """Prompts that lost the beginning of their text, because they would not fit."""
    drawn: str = ""
    """Which rows were measured, in words, where not all were."""
    other_shots: Count = 0
    """Questions that stand among the worked examples, and were shown the next one instead."""
    fewer_shots: Count = 0
    """Questions with fewer worked examples than the others, because they would not fit."""
    unfinished: Count = 0
    """Answers that end before their reasoning does, and so say nothing."""
    seed: int | None = None
    resamples: int | None = Field(default=None, ge=1, le=10**6)
    """Of the intervals' draws; None in records of earlier versions."""

    def metric(self, name: str) -> MetricResult:
        """The metric called ``name``.

        Raises:
            DataError: it was not computed.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise DataError(
            f"the metric {name!r} was not computed for {self.task}",
            fix=f"computed were {listed(metric.name for metric in self.metrics)}",
        )


class SampleRecord(Record):
    """A line of ``evaluation/<task>.samples.jsonl``.

    Attributes:
        part_of: what several samples are scored as, such as the answers to one question.
        choices: the closed set of answers, as labels where labels have words.
        words: what was scored for each choice.
        likelihoods: the log-probability of each of ``words``, in nats.
        extracted: the answer that was found in a generated text, by the name of the extractor.
        accepted: the references in the form in which found answers are compared with them.
        counts: how long a text is, in words, bytes and tokens.
        generated: all that was generated, where the prediction is only a part of it: what stands
            behind reasoning.
        contexts: what stands before the answer in each choice, where choices differ in that.
    """

    id: str
    group: str = ""
    prompt: str
    prediction: str
    references: tuple[str, ...]
    choices: tuple[str, ...] = ()
    scores: dict[str, float]
    finish: Literal["stop", "length"]
    part_of: str = ""
    words: tuple[str, ...] = ()
    likelihoods: tuple[float, ...] = ()
    extracted: dict[str, str] = {}
    accepted: tuple[str, ...] = ()
    counts: dict[str, Count] = {}
    generated: str = ""
    contexts: tuple[str, ...] = ()


class SuiteRecord(Record):
    """``suites/<name>.json``: what is computed from several tasks.

    Attributes:
        scores: the whole, then its categories.
        tasks: the tasks that were measured.
        missing: those that were not, so that the score is not the published one.
    """

    suite: str
    format: str
    shots: tuple[Count, ...]
    scores: tuple[MetricResult, ...]
    tasks: tuple[str, ...]
    missing: tuple[str, ...] = ()


class ContaminatedExample(Record):
    """A test example that the training data contains in part.

    Attributes:
        id: of the example.
        runs: its runs of words.
        shared: those of them that stand in training texts.
        where: the place of one such text.
    """

    id: str
    runs: Count
    shared: Count
    where: str


class Contamination(Record):
    """``contamination.json``: which test examples share a run of words with training texts.

    Attributes:
        words: the length of the run.
        train: training texts that were looked at.
        test: test examples.
        checked: those of them that were long enough.
        examples: those that share one.
    """

    words: Count
    train: Count
    test: Count
    checked: Count
    examples: tuple[ContaminatedExample, ...]

    @property
    def share(self) -> float:
        """The share of the checked examples."""
        return len(self.examples) / self.checked if self.checked else 0.0

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        if not self.checked:
            return (
                f"Whether test examples share {self.words} words in a row with the {self.train:,} "
                f"training texts cannot be told: {self.test:,} of {self.test:,} have too few words."
            )
        short = self.test - self.checked
        unchecked = f"; {short} have too few words of their own to tell" if short else ""
        share = f" ({self.share:.1%})" if self.examples else ""
        return (
            f"{len(self.examples) or 'None'} of {self.checked} test examples{share} "
            f"{'shares' if len(self.examples) in (0, 1) else 'share'} {self.words} words in a row "
            f"with the {self.train:,} training texts{unchecked}."
        )


class Forgetting(Estimate):
    """``forgetting.json``: the rise of loss on general text, in nats per token.

    ``value`` is ``after - before``; positive means that something was forgotten. ``n`` counts
    the texts, ``tokens`` their tokens.
    """

    before: float
    after: float
    tokens: Count
    text: str


class Extension(Record):
    """A line of ``extensions.jsonl``: a training that was given more epochs or steps on purpose.

    Attributes:
        step: optimizer steps that had been taken, up to the newest checkpoint.
        epochs_before: the passes that were planned until then.
        epochs: the passes that are planned from now on, those before included.
        max_steps_before: the steps that decided in their place until then, if any did.
        max_steps: the steps that decide in their place from now on, if any do.
        learning_rate_before: the peak learning rate until then.
        learning_rate: the peak learning rate from now on.
        max_time: seconds that the training, and each extension, may take.
        extends: the fingerprint of the training until then.
        fingerprint: the fingerprint of the training from now on.
    """

    step: Count
    epochs_before: float
    epochs: float
    max_steps_before: int | None = None
    max_steps: int | None = None
    learning_rate_before: float
    learning_rate: float
    max_time: float | None = None
    extends: str
    fingerprint: str


class TrainingRecord(Record):
    """``training.json``: what tuning did and what it cost."""

    method: str
    fingerprint: str
    trained_parameters: Count
    total_parameters: Count
    artifact_bytes: Count
    steps: Count
    planned_steps: Count
    epochs: float
    examples: Count
    replayed: Count = 0
    """General texts beside the examples in each epoch."""
    trained_tokens: Count
    processed_tokens: Count
    best_step: Count
    best_validation_loss: float | None
    first_loss: float
    last_loss: float
    stopped: Literal["finished", "early", "time", "forgetting"]
    overflows: Count = 0
    """Steps that were left out because their gradient overflowed in float16."""
    seconds: Seconds
    peak_memory_bytes: Count
    extensions: tuple[Extension, ...] = ()


TWO_SIDED = "two-sided, for any difference"


class Comparison(Record):
    """A paired comparison of two systems on the same examples.

    Attributes:
        over: the system that is compared with.
        difference: in the metric's own unit.
        low: lower end of its interval, which holds 0 exactly where ``p`` is above one minus the
            interval's level.
        high: upper end.
        p: the two-sided p-value.
        p_adjusted: the p-value after the correction for all comparisons that were made together:
            Holm's, or the step-down over all pairs of a ladder, which tests gains only.
        alternative: what ``p`` is a test of, in words.
        adjustment: what ``p_adjusted`` is a test of, and how it is corrected, in words.
        test: the name of the test.
        n: paired examples.
        units: groups of examples that were swapped together; None in records of earlier versions.
        standard_error: of the difference, clustered where examples belong together.
        detectable: the least difference that so many examples show 8 times in 10; None: no one.
        no_interval: the reason why no interval can be given.
    """

    over: str
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    test: str
    n: Count
    units: Count | None = None
    standard_error: float | None = None
    detectable: float | None = None
    no_interval: str = ""
    alternative: str = TWO_SIDED
    adjustment: str = TWO_SIDED
