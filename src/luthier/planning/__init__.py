"""Estimates of memory, time and cost from files only, without loading a model."""

from luthier.planning.architecture import Architecture
from luthier.planning.families import read_architecture
from luthier.planning.memory import MemoryPlan, plan_inference, plan_training
from luthier.planning.training_setup import TrainingSetup

__all__ = [
    "Architecture",
    "MemoryPlan",
    "TrainingSetup",
    "plan_inference",
    "plan_training",
    "read_architecture",
]
