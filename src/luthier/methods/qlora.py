"""QLoRA: LoRA beside a quantised base (Dettmers et al. 2023, arXiv 2305.14314)."""

from __future__ import annotations

from luthier.methods.lora import LoraMethod


class QloraMethod(LoraMethod):
    """Trains LoRA's update in float32; the base was quantised when it was loaded."""

    name = "qlora"
