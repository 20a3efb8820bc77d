"""Settings of the ladder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from luthier.config.base import Bytes, Config, Seconds
from luthier.core.choices import BaselineName
from luthier.core.method_facts import MethodName

ShotName = Literal["zero-shot", "one-shot", "few-shot"]
RungName = Literal[BaselineName, ShotName, MethodName]


class AdaptConfig(Config):
    """The rungs to run and the stopping rule."""

    rungs: tuple[RungName, ...] = Field(
        default=("zero-shot", "one-shot", "few-shot", "prompt-tuning", "lora", "full"),
        min_length=1,
    )
    """The adaptation methods to try, cheapest first."""
    baselines: tuple[BaselineName, ...] | None = None
    """The baselines to measure before the other rungs; they need no language model. None: those
    that suit the task: majority and linear for choices, nearest for open answers, lead for
    summaries. An empty list: none."""
    target: float | None = None
    """Recommend the cheapest rung whose metric reaches this value."""
    stop_at_target: bool = False
    """Skip more expensive rungs once a rung has reached the target."""
    budget: Seconds | None = None
    """Time limit for all rungs, such as 30m; rungs that do not fit are skipped with a message."""
    memory: Bytes | None = None
    """Memory limit, such as 12GiB; None: the free memory of the device."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """The family-wise error rate of the ladder: the probability of calling a chance gain real."""
