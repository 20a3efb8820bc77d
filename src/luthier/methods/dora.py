"""DoRA: weight-decomposed low-rank adaptation (Liu et al. 2024, arXiv 2402.09353)."""

from __future__ import annotations

from typing import Any, ClassVar

from luthier.methods.lora import LoraMethod
from luthier.methods.targets import Parameters


class DoraMethod(LoraMethod):
    """Trains a low-rank update of each weight's direction, and its column magnitudes separately."""

    name = "dora"
    variant: ClassVar[dict[str, Any]] = {"use_dora": True}
    parameters: ClassVar[Parameters] = Parameters(converts=True)
