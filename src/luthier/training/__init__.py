"""The training loop, shared by every method and objective."""

from luthier.training.job import Limits, TrainingJob
from luthier.training.loop import train
from luthier.training.tune import TrainingData, tune

__all__ = ["Limits", "TrainingData", "TrainingJob", "train", "tune"]
