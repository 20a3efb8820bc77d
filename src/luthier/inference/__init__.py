"""Scoring and generation. All engines have the same interface."""

from luthier.inference.engine import (
    Engine,
    Generation,
    Score,
    ScoreRequest,
    TextLoss,
    ignore_progress,
)

__all__ = ["Engine", "Generation", "Score", "ScoreRequest", "TextLoss", "ignore_progress"]
