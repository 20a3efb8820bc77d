"""The one training loop, for every method."""

from luthier.train.job import Limits, TrainingJob
from luthier.train.loop import train
from luthier.train.tune import TrainingData, tune

__all__ = ["Limits", "TrainingData", "TrainingJob", "train", "tune"]
