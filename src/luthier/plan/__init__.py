"""What a run will need, from files alone and without loading a model."""

from luthier.plan.architecture import Architecture
from luthier.plan.families import read_architecture
from luthier.plan.memory import MemoryPlan, plan_inference, plan_training
from luthier.plan.setup import TrainingSetup

__all__ = [
    "Architecture",
    "MemoryPlan",
    "TrainingSetup",
    "plan_inference",
    "plan_training",
    "read_architecture",
]
