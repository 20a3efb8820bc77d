"""What a run will need, from files alone and without loading a model."""

from luthier.plan.memory import MemoryPlan, plan_inference, plan_training
from luthier.plan.shape import ModelShape, read_shape

__all__ = ["MemoryPlan", "ModelShape", "plan_inference", "plan_training", "read_shape"]
