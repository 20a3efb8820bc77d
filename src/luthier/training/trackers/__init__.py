"""Trackers: what each step measures, handed to the tools that draw it.

What is drawn never decides what is trained: a tracker that fails is dropped with a warning.
"""

from luthier.training.trackers.observer import require_trackers, tracking

__all__ = ["require_trackers", "tracking"]
