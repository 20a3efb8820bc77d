"""The file of a mixture: its sources, and how they are mixed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from luthier.config.base import Config
from luthier.config.documents import validate_document
from luthier.config.yaml import read_yaml
from luthier.core.names import listed
from luthier.core.user_files import is_there
from luthier.tasks.load import TASK_FILES

MIXTURE = "mixture"
"""The format of data that comes from several sources."""


class MixtureSource(Config):
    """A source of a mixture."""

    source: str = Field(min_length=1)
    """A task of the library or a task file, a file or folder of rows, bundled data, or a Hub id.
    A path is looked for beside the mixture's file first."""
    name: str = ""
    """The name of the source in tables; without one, that of its data."""
    template: str | None = None
    """The task that renders the rows of a file, found as source is; null: the source's own."""
    subset: str | None = None
    """The configuration of a Hub data set."""
    num_train: int | None = Field(default=None, ge=1)
    """Maximum number of training examples, sampled with the seed."""
    weight: float | None = Field(default=None, gt=0)
    """With rates=weights, the draws of this source relative to those of the others."""


class Mixture(Config):
    """Sources that are trained together, and how they are mixed."""

    kind: Literal["mixture"] = "mixture"
    """The kind of the file."""
    name: str = Field(default="mixture", min_length=1)
    """The name of the mixture; without one, that of its file."""
    sources: tuple[MixtureSource, ...] = Field(min_length=1)
    """The sources."""
    rates: Literal["proportional", "equal", "weights"] = "proportional"
    """The shares of the sources among the draws. proportional: as their numbers of usable training
    examples, up to cap; equal: the same share each; weights: as stated by each source."""
    cap: int | None = Field(default=None, ge=1)
    """With rates=proportional, the number of examples above which a source gets no higher rate. It
    counts the examples that are left after filters (elsewhere maximum, or rate limit)."""
    temperature: float = Field(default=1.0, ge=1, le=1000)
    """With rates=proportional, each number of examples is taken to the power 1/temperature, after
    the cap."""
    draws: int | None = Field(default=None, ge=1, le=10**9)
    """The number of training examples drawn in an epoch; null: as many as the sources have, or as
    max_passes allows."""
    max_passes: float | None = Field(default=None, gt=0)
    """The most times that an epoch shows each example of a source. Draws that a small source may
    not have go to the others."""
    _folder: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _check_rates(self) -> Self:
        with_weight = [one.source for one in self.sources if one.weight is not None]
        if self.rates == "weights" and len(with_weight) < len(self.sources):
            without = [one.source for one in self.sources if one.weight is None]
            raise ValueError(f"rates is weights, but there is no weight for {listed(without)}")
        if self.rates != "weights" and with_weight:
            raise ValueError(
                f"{listed(with_weight)} has a weight, but rates is {self.rates}; use rates: weights"
            )
        shaped = {"cap", "temperature"} & self.model_fields_set
        if self.rates != "proportional" and shaped:
            raise ValueError(f"{listed(sorted(shaped))} needs rates: proportional")
        return self

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        counts = Counter(one.name for one in self.sources if one.name)
        if doubled := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"two sources are called {listed(doubled)}")
        return self

    @property
    def folder(self) -> Path:
        """The folder of the mixture's file, in which paths are looked for first."""
        return self._folder


def mixture_called(source: str) -> Mixture | None:
    """The mixture in the file that a data source names; None: it names no mixture.

    Raises:
        UsageError: the file cannot be read.
        DataError: the mixture is not valid; all problems are listed, each with its line.
    """
    path = Path(source)
    if path.suffix not in TASK_FILES or not is_there(path):
        return None
    document = read_yaml(path)
    if "sources" not in document.values and document.values.get("kind") != "mixture":
        return None
    values = {"name": path.stem, **document.values}
    mixture = validate_document(Mixture, "mixture", document, values=values)
    mixture._folder = path.parent
    return mixture
