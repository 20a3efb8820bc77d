"""How a model is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from luthier.config.base import Config, OneOrMore
from luthier.config.decoding import Greedy, StopString, Strategy
from luthier.config.permission import NAMES_DATA, NAMES_FILES


class EvaluateConfig(Config):
    """Generation, metrics, and statistics."""

    metrics: Annotated[tuple[str, ...] | None, OneOrMore] = None
    """Which metrics, the first being the one that decides; None: the template's, or each task's."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """The longest answer, in tokens; None: the template's, or each task's."""
    stop: tuple[StopString, ...] | None = None
    """An answer ends before the first of these texts in it, which may hold special tokens. None:
    after worked examples in plain text, the blank line before the next question; in tasks, each
    task's own."""
    decoding: Strategy = Greedy()
    """How each token of an answer is chosen."""
    too_long: Literal["error", "drop"] = "error"
    """What to do with a test example whose prompt leaves no room for an answer in the context
    window. drop leaves it out, and says how many; of adapt's rungs all are asked the same ones."""
    engine: Literal["local", "vllm"] = "local"
    """What runs a model in files: this process, or vLLM in it (the extra vllm; a GPU). Tuned
    runs are always measured in this process."""
    batch_tokens: int = Field(default=16384, ge=1)
    """Tokens in the key/value cache of one batch. It changes memory and speed, not the result."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """The level of every interval."""
    resamples: int = Field(default=2000, ge=100, le=10**6)
    """Resamples of the bootstrap, and permutations of the paired test."""
    tasks: Annotated[tuple[str, ...], NAMES_FILES] = ()
    """Benchmark tasks and suites by name, or YAML files, that evaluate measures instead of the
    data; 'luthier tasks' lists them."""
    task_shots: int | None = Field(default=None, ge=0)
    """Worked examples before each question of a task; None: each task's own number."""
    task_chat_template: bool = False
    """Ask tasks through the model's chat template, worked examples as turns (elsewhere
    apply_chat_template with fewshot_as_multiturn). The words of tasks stay as they are."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many rows of each task; None: all."""
    limit_draw: Literal["seeded", "first"] = "seeded"
    """seeded: these rows are drawn with the run's seed. first: the first ones, as
    lm-evaluation-harness takes them."""
    samples: int = Field(default=1, ge=1)
    """Answers to each question whose answer is generated, drawn with
    evaluate.decoding.strategy=sampling; pass@K and majority score them together."""
    contamination_ngram: int | None = Field(default=13, ge=1)
    """Test examples that share this many words in a row with the training data are named, and
    measured apart; null: they are not looked for."""
    general_text: Annotated[str | None, NAMES_DATA] = "python-topics"
    """The text on which forgetting is measured: bundled, or a text file. None: not measured."""
    general_tokens: int = Field(default=4096, ge=64)
    """How much of it is used."""
