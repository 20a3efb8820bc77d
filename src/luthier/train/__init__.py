"""The one training loop, for every method."""

from luthier.train.job import TrainingJob
from luthier.train.loop import train
from luthier.train.tune import Room, TrainingData, tune

__all__ = ["Room", "TrainingData", "TrainingJob", "train", "tune"]
