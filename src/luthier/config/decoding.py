"""How answers are generated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from luthier.config.base import Config


class Greedy(Config):
    """The likeliest token at each step."""

    strategy: Literal["greedy"] = "greedy"
    """greedy, sampling, or beam."""


class Sampling(Config):
    """A token drawn at each step.

    The probabilities are changed in this order: temperature, top_k, top_p, min_p. What is drawn
    follows from the seed and the prompt alone.
    """

    strategy: Literal["sampling"] = "sampling"
    """greedy, sampling, or beam."""
    temperature: float = Field(default=1.0, ge=1e-6)
    """Logits are divided by it: below 1, likely tokens become likelier."""
    top_k: int | None = Field(default=None, ge=1)
    """Only the so many likeliest tokens are drawn; None: all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Only the likeliest tokens with this probability together (Holtzman et al. 1904.09751)."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Only tokens so likely, as a share of the likeliest one (Nguyen et al. 2407.01082)."""
    seed: int = Field(default=0, ge=0)
    """Other seeds draw other answers; the run's own seed counts too."""


class Beam(Config):
    """The likeliest of the answers that a beam search finds; as in transformers."""

    strategy: Literal["beam"] = "beam"
    """greedy, sampling, or beam."""
    num_beams: int = Field(default=4, ge=2, le=256)
    """How many beginnings of an answer are continued side by side."""
    length_penalty: float = Field(default=1.0, ge=-10, le=10)
    """An answer's log-probability is divided by its length to this power, so that larger values
    favour longer answers."""
    early_stopping: bool | Literal["never"] = False
    """true: stop when num_beams answers have ended; false: when a better one is unlikely; never:
    when there cannot be a better one."""


StopString = Annotated[str, Field(min_length=1)]
Strategy = Annotated[Greedy | Sampling | Beam, Field(discriminator="strategy")]


class Decoding(Config):
    """All that decides, beside model and prompt, which answer is generated."""

    max_new_tokens: int = Field(ge=1)
    """The longest answer, in tokens."""
    stop: tuple[StopString, ...] = ()
    """An answer ends before the first of these texts in it."""
    strategy: Strategy = Greedy()
    """How each token is chosen."""
