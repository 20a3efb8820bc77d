"""Data sources, row formats and splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from luthier.config.base import Config, NotEmpty
from luthier.config.permission import NAMES_DATA


class DataConfig(Config):
    """The examples to train on and to evaluate with."""

    source: Annotated[str, NAMES_DATA, NotEmpty] = "python-docstrings"
    """A bundled task, a file (jsonl, json, csv, tsv, parquet, txt; .gz too), a folder, or a Hub id.

    A relative path is searched in the working directory, then under LUTHIER_DATA.
    """
    subset: str | None = None
    """The configuration of a Hub data set."""
    format: Literal[
        "auto", "prompt-completion", "alpaca", "sharegpt", "openai", "glaive", "text", "table"
    ] = "auto"
    """The format of a row. auto inspects the columns; table renders columns with the template."""
    validation: Annotated[str | None, NAMES_DATA, NotEmpty] = None
    """A separate validation file; without it, a part of source is held out."""
    test: Annotated[str | None, NAMES_DATA, NotEmpty] = None
    """A separate test file; without it, a part of source is held out."""
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    """The share of groups held out for validation if no file is given."""
    test_fraction: float | None = Field(default=None, gt=0, lt=1)
    """The share of groups held out for the test if no file is given. None: a tenth; of fewer than
    1,000 rows as many as give 100 test examples, up to 0.3; of bundled data a tenth."""
    group: str | None = None
    """The column with the group of a row; rows of one group stay in the same split."""
    near_duplicates: Literal["group", "off"] | None = None
    """Prompts that share most of their words and pairs of words: one group, or unrelated. None:
    group, except for bundled data, which has groups by origin."""
    consecutive_turns: Literal["error", "merge"] = "error"
    """Two consecutive turns of one role: an error, or joined with a blank line between them."""
    opening: Literal["error", "keep", "drop"] = "error"
    """A conversation that starts with the assistant, such as a greeting: an error, kept unchanged,
    or without that turn."""
    ending: Literal["error", "drop"] = "error"
    """A conversation that does not end with an answer: an error, or cut after the last answer."""
    system_turns: Literal["error", "merge", "keep"] = "error"
    """A system message in the middle of a conversation: an error, joined with the following user
    turn (or with the preceding one, if an answer follows), or kept in place."""
    refusals: Literal["error", "train"] = "error"
    """A refusal in a separate key (OpenAI's data): an error, or trained as the answer."""
    ignore_keys: tuple[str, ...] = ()
    """Columns, and keys of turns, to ignore."""
    weight: str | None = None
    """The column with the loss weight of a row, relative to the others; 0: the row is left out.
    Without it, a column weight, loss_weight or sample_weight is used if there is no template."""
    class_weights: Literal["balanced"] | Mapping[str, PositiveFloat] | None = None
    """Loss weights for the answers of a closed set, such as {yes: 3, no: 1}. balanced: each answer
    has the same total weight, n / (answers * n of this answer)."""
    num_train: int | None = Field(default=None, ge=1)
    """Maximum number of training examples, sampled with the seed."""
    num_validation: int | None = Field(default=128, ge=1)
    """Maximum number of validation examples, sampled with the seed."""
    num_test: int | None = Field(default=None, ge=1)
    """Maximum number of test examples, sampled with the seed."""
    max_characters: int | None = Field(default=None, ge=1)
    """Leave out examples with more characters in question and answer, in every split."""
    max_length: int | None = Field(default=None, ge=8)
    """Maximum tokens per example, prompt and completion; None: the model's context window."""
    too_long: Literal["drop", "error"] = "drop"
    """The treatment of longer training examples. Test examples are never dropped silently."""
    replay: float = Field(default=0.0, ge=0, lt=1)
    """The share of general texts among the examples of each epoch (replay), to reduce forgetting.
    All their tokens are trained, so their share of the trained tokens is larger."""
    replay_text: Annotated[str, NAMES_DATA] = "python-topics"
    """The source of the replayed texts: bundled, or a text file. Texts used to measure forgetting
    are excluded."""
    invalid: Literal["error", "drop"] = "error"
    """The treatment of unusable rows, such as one with an empty completion."""
