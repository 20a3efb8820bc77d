"""Rank-stabilised LoRA (Kalajdzievski 2023, arXiv 2312.03732)."""

from __future__ import annotations

from typing import Any, ClassVar

from luthier.methods.lora import LoraMethod


class RsloraMethod(LoraMethod):
    """Trains ``B·A·alpha/√rank``: the update does not shrink with the rank."""

    name = "rslora"
    variant: ClassVar[dict[str, Any]] = {"use_rslora": True}
