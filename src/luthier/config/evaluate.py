"""Evaluation settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from luthier.config.base import Config, OneOrMore
from luthier.config.decoding import Greedy, StopString, Strategy
from luthier.config.permission import NAMES_DATA, NAMES_FILES


class EvaluateConfig(Config):
    """Generation, metrics, and statistics."""

    metrics: Annotated[tuple[str, ...] | None, OneOrMore] = None
    """The metrics; the first is the primary one. None: the template's, or each task's."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Maximum length of an answer, in tokens; None: the task's, or one and a half times the longest
    reference."""
    stop: tuple[StopString, ...] | None = None
    """Stop texts: an answer ends before the first of them; they may contain special tokens. None:
    after shots in plain text, the blank line before the next question; in tasks, each task's
    own."""
    decoding: Strategy = Greedy()
    """The decoding strategy."""
    choices: Literal["likelihood", "generation"] = "likelihood"
    """Answers to a run's own data whose tasks have choices. likelihood: the choice with the highest
    log-probability. generation: a generated text that names a choice; servers without
    log-probabilities always generate."""
    calibrate: bool = False
    """Subtract the log-probability of a choice after an empty question, which removes a model's
    preference for frequent words (calibration)."""
    too_long: Literal["error", "drop"] = "error"
    """The treatment of a test example whose prompt leaves no room for an answer in the context
    window. drop leaves it out and reports the number; all rungs of adapt get the same examples."""
    engine: Literal["local", "vllm"] = "local"
    """The engine for local models: this process, or vLLM (the extra vllm; a GPU). Tuned runs are
    always measured in this process."""
    batch_tokens: int = Field(default=16384, ge=1)
    """Tokens in the KV cache of one batch. It affects memory and speed, not the result."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """The confidence level of every interval."""
    resamples: int = Field(default=2000, ge=100, le=10**6)
    """Resamples of the bootstrap, and permutations of the paired test."""
    tasks: Annotated[tuple[str, ...], NAMES_FILES] = ()
    """Benchmark tasks and suites by name, or YAML files, measured by evaluate in place of the data;
    'luthier tasks' lists them."""
    task_shots: int | None = Field(default=None, ge=0)
    """Number of shots (worked examples) per question of a task; None: each task's default."""
    task_chat_template: bool = False
    """Ask tasks through the model's chat template, with shots as turns (elsewhere
    apply_chat_template with fewshot_as_multiturn). The wording of tasks is unchanged."""
    limit: int | None = Field(default=None, ge=1)
    """Maximum rows per task; None: all."""
    limit_draw: Literal["seeded", "first"] = "seeded"
    """seeded: the rows are sampled with the run's seed. first: the first rows, as in
    lm-evaluation-harness."""
    samples: int = Field(default=1, ge=1)
    """Sampled answers per generated question, which needs evaluate.decoding.strategy=sampling;
    pass@K and majority score them together."""
    abstain: float | None = Field(default=None, gt=0, lt=1)
    """A confidence below which the model abstains. Coverage and accuracy of the other answers are
    reported. It needs answers that are chosen by likelihood. None: only the usual thresholds."""
    contamination_ngram: int | None = Field(default=13, ge=1)
    """The n of the contamination check: test examples that share n consecutive words with the
    training data are named and measured separately; null: no check."""
    general_text: Annotated[str | None, NAMES_DATA] = "python-topics"
    """The text for measuring forgetting: bundled, or a text file. None: not measured."""
    general_tokens: int = Field(default=4096, ge=64)
    """Tokens of it to use."""
