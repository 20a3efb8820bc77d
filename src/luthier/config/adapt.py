"""The ladder's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from luthier.config.base import Bytes, Config, Seconds
from luthier.core.method_facts import MethodName

ShotName = Literal["zero-shot", "one-shot", "few-shot"]
RungName = Literal[ShotName, MethodName]


class AdaptConfig(Config):
    """Which rungs are run, and when to stop."""

    rungs: tuple[RungName, ...] = Field(
        default=("zero-shot", "one-shot", "few-shot", "prompt-tuning", "lora", "full"),
        min_length=1,
    )
    """The ways of adapting to try, cheapest first."""
    target: float | None = None
    """Stop recommending at the cheapest rung whose metric reaches this value."""
    stop_at_target: bool = False
    """Do not run the dearer rungs once a rung has reached the target."""
    budget: Seconds | None = None
    """Total time for all rungs, such as 30m; what does not fit is skipped, and said so."""
    memory: Bytes | None = None
    """Memory that may be used, such as 12GiB; None: what is free on the device."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """The probability that any gain of the ladder is called real by chance."""
