"""Decoding: how answers are generated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from luthier.config.base import Config


class Greedy(Config):
    """Greedy decoding: the most likely token at each step."""

    strategy: Literal["greedy"] = "greedy"
    """greedy, sampling, or beam."""


class Sampling(Config):
    """Sampling: a random token at each step.

    Filters apply in this order: temperature, top_k, top_p, min_p. The draws depend only on the seed
    and the prompt.
    """

    strategy: Literal["sampling"] = "sampling"
    """greedy, sampling, or beam."""
    temperature: float = Field(default=1.0, ge=1e-6)
    """Logits are divided by it; values below 1 favour likely tokens."""
    top_k: int | None = Field(default=None, ge=1)
    """Sample only from the k most likely tokens; None: from all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample only from the most likely tokens with this total probability (Holtzman 1904.09751)."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Minimum probability of a token relative to the most likely one (Nguyen et al. 2407.01082)."""
    seed: int = Field(default=0, ge=0)
    """A seed for other answers; it is combined with the run's seed."""


class Beam(Config):
    """Beam search: the most likely answer found, as in transformers."""

    strategy: Literal["beam"] = "beam"
    """greedy, sampling, or beam."""
    num_beams: int = Field(default=4, ge=2, le=256)
    """The number of beams."""
    length_penalty: float = Field(default=1.0, ge=-10, le=10)
    """Exponent of the length by which an answer's log-probability is divided; larger values favour
    longer answers."""
    early_stopping: bool | Literal["never"] = False
    """true: stop when num_beams answers are finished; false: when a better one is unlikely; never:
    when a better one is impossible."""


StopString = Annotated[str, Field(min_length=1)]
Strategy = Annotated[Greedy | Sampling | Beam, Field(discriminator="strategy")]


class Decoding(Config):
    """All generation settings apart from model and prompt."""

    max_new_tokens: int = Field(ge=1)
    """Maximum length of an answer, in tokens."""
    stop: tuple[StopString, ...] = ()
    """Stop texts: an answer ends before the first of them."""
    strategy: Strategy = Greedy()
    """The decoding strategy."""
