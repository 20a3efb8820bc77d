"""The objective that tests train with."""

from __future__ import annotations

from luthier.training.objectives.supervised import Supervised

SUPERVISED = Supervised()
