"""The named choices of a training, for the configuration and for the planner alike.

The planner says which of its plans `tune` can run. It loads no configuration, so what both need
stands here once.
"""

from __future__ import annotations

from typing import Literal

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
OptimizerName = Literal["adamw", "adamw-8bit", "paged-adamw-8bit", "adafactor", "sgd"]
Checkpointing = Literal["none", "selective", "full"]
Parallelism = Literal["ddp", "zero2", "fsdp"]
