"""Training objectives: from a micro-batch to a summed loss and its weight."""

from luthier.training.objectives.base import Objective, Trainable

__all__ = ["Objective", "Trainable"]
