"""Trackers: export of each step's metrics to visualisation tools.

Trackers never influence a training: one that fails is dropped with a warning.
"""

from luthier.training.trackers.observer import require_trackers, tracking

__all__ = ["require_trackers", "tracking"]
