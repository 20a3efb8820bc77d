"""From the configuration's own words to the planner's."""

from __future__ import annotations

from luthier.config.methods import FullConfig, LoraConfig, MethodConfig, PromptTuningConfig
from luthier.plan.tunings import Full, Lora, Tuning, prompt_tuning


def tuning_of(method: MethodConfig) -> Tuning:
    """What the planner knows of a configured method.

    Raises:
        TypeError: the method is of an unknown class.
    """
    match method:
        case FullConfig():
            return Full()
        case LoraConfig(rank=rank, targets=targets, dropout=dropout):
            return Lora(targets=targets, rank=rank, dropout=dropout)
        case PromptTuningConfig(virtual_tokens=count):
            return prompt_tuning(count)
    raise TypeError(f"the planner does not know {type(method).__name__}")
