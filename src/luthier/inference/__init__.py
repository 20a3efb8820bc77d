"""Scoring and generation. Every engine answers the same two calls."""

from luthier.inference.engine import Engine, Generation, TextLoss, ignore_progress

__all__ = ["Engine", "Generation", "TextLoss", "ignore_progress"]
