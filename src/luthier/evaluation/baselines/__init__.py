"""Baselines: answers without a language model, which show whether one is needed."""

from luthier.evaluation.baselines.base import Baseline
from luthier.evaluation.baselines.registry import (
    fit_baseline,
    load_baseline,
    suitable_baselines,
    unsuited,
)

__all__ = ["Baseline", "fit_baseline", "load_baseline", "suitable_baselines", "unsuited"]
