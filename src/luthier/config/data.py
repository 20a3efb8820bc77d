"""Which data, and how it is cut into splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from luthier.config.base import Config, NotEmpty
from luthier.config.permission import NAMES_DATA


class DataConfig(Config):
    """The examples to train on and to measure with."""

    source: Annotated[str, NAMES_DATA, NotEmpty] = "python-docstrings"
    """A bundled task, a file (jsonl, json, csv, tsv, parquet, txt; .gz too), a folder, or a Hub id.

    A relative path is looked for in the working directory, then under LUTHIER_DATA.
    """
    subset: str | None = None
    """The configuration of a Hub data set."""
    format: Literal[
        "auto", "prompt-completion", "alpaca", "sharegpt", "openai", "glaive", "text", "table"
    ] = "auto"
    """The shape of a row. auto looks at the columns. table renders columns through the template."""
    validation: Annotated[str | None, NAMES_DATA, NotEmpty] = None
    """A file of its own for validation; without it a part of source is held out."""
    test: Annotated[str | None, NAMES_DATA, NotEmpty] = None
    """A file of its own for the test; without it a part of source is held out."""
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    """The share of groups held out for validation where no file is given."""
    test_fraction: float = Field(default=0.1, gt=0, lt=1)
    """The share of groups held out for the test where no file is given."""
    group: str | None = None
    """The column that says which rows belong together, so that they stay in one split."""
    consecutive_turns: Literal["error", "merge"] = "error"
    """Two turns of one role in a row: an error, or joined with a blank line between them."""
    opening: Literal["error", "keep", "drop"] = "error"
    """A conversation that begins with the assistant, such as with a greeting: an error, kept as it
    is, or without that turn."""
    ending: Literal["error", "drop"] = "error"
    """A conversation that does not end with an answer: an error, or cut after the last answer."""
    system_turns: Literal["error", "merge", "keep"] = "error"
    """A system message in the middle of a conversation: an error, joined with the user's turn that
    follows it (or with the one before, where an answer follows), or kept where it stands."""
    refusals: Literal["error", "train"] = "error"
    """An answer that is a refusal, under a key of its own (OpenAI's data): an error, or trained."""
    ignore_keys: tuple[str, ...] = ()
    """Columns, and keys of turns, that are treated as if they were not there."""
    weight: str | None = None
    """The column that says how much a row counts in the loss, relative to the others; 0: the row
    is left out. Without it, a column weight, loss_weight or sample_weight says so where no template
    is used."""
    class_weights: Literal["balanced"] | Mapping[str, PositiveFloat] | None = None
    """How much the answers of a closed set count in the loss, such as {yes: 3, no: 1}. balanced:
    each answer counts as much as every other in all, n / (answers * n of this answer)."""
    num_train: int | None = Field(default=None, ge=1)
    """At most this many training examples, drawn with the seed."""
    num_validation: int | None = Field(default=128, ge=1)
    """At most this many validation examples, drawn with the seed."""
    num_test: int | None = Field(default=None, ge=1)
    """At most this many test examples, drawn with the seed."""
    max_characters: int | None = Field(default=None, ge=1)
    """Leave out examples with a longer question and answer, in every split alike."""
    max_length: int | None = Field(default=None, ge=8)
    """Tokens an example may have, prompt and completion; None: the model's context window."""
    too_long: Literal["drop", "error"] = "drop"
    """What to do with a longer training example. Test examples are never dropped silently."""
    replay: float = Field(default=0.0, ge=0, lt=1)
    """The share of general texts among the examples of each epoch, against forgetting. They are
    trained on whole, so they have a larger share of the trained tokens."""
    replay_text: Annotated[str, NAMES_DATA] = "python-topics"
    """Where they are from: bundled, or a text file. Texts on which forgetting is measured are left
    out."""
    invalid: Literal["error", "drop"] = "error"
    """What to do with a row that cannot be used, such as one with an empty completion."""
