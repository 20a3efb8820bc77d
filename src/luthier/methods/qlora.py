"""QLoRA: LoRA on a quantised base (Dettmers et al. 2023, arXiv 2305.14314)."""

from __future__ import annotations

from typing import ClassVar

from luthier.methods.lora import LoraMethod
from luthier.methods.targets import Parameters


class QloraMethod(LoraMethod):
    """Trains LoRA's update in float32; the base is quantised when it is loaded."""

    name = "qlora"
    # Only linear layers are quantised, stacked experts are not.
    parameters: ClassVar[Parameters] = Parameters(converts=True, stacks=True)
