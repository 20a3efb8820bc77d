"""The ladder: try the ways of adapting from cheap to dear, and say which one is worth it."""

from luthier.adapt.setup import Setup, prepare

__all__ = ["Setup", "prepare"]
