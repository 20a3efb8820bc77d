"""Scoring and generation. Every engine answers the same calls."""

from luthier.inference.engine import (
    Engine,
    Generation,
    Score,
    ScoreRequest,
    TextLoss,
    ignore_progress,
)

__all__ = ["Engine", "Generation", "Score", "ScoreRequest", "TextLoss", "ignore_progress"]
