"""Named options, shared by the configuration and the planner.

The planner states which plans `tune` can run but loads no configuration, so the options live here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
OptimizerName = Literal["adamw", "adamw-8bit", "paged-adamw-8bit", "adafactor", "sgd"]
Checkpointing = Literal["none", "selective", "full"]
Parallelism = Literal["ddp", "zero2", "fsdp"]
LossWeight = Literal["token", "example", "source"]
BaselineName = Literal["majority", "linear", "nearest", "lead"]
# IA3 scales keys, values (their own projection or one fused with the queries) and the MLP's inner
# activations, which are the input of its last projection.
IA3_OUTPUTS = ("k_proj", "v_proj", "k", "v", "c_attn", "query_key_value", "qkv_proj")
IA3_INPUTS = ("down_proj", "fc2", "wo", "mlp.c_proj", "dense_4h_to_h")
# Where bottleneck adapters are inserted: after the attention and MLP sub-layers (Houlsby et al.),
# or after the MLP's last projection only (Pfeiffer et al.).
_SUBLAYER_ENDS = (
    "o_proj",
    "down_proj",
    "dense",
    "fc2",
    "c_proj",
    "out_proj",
    "dense_4h_to_h",
    "o",
    "wo",
)
ADAPTER_PLACES: Mapping[str, tuple[str, ...]] = {
    "houlsby": _SUBLAYER_ENDS,
    "pfeiffer": IA3_INPUTS,
}
# Bundled on every machine; any other name refers to something outside Luthier.
BUNDLED_DATA = ("python-docstrings", "python-topics")
BUNDLED_MODELS = ("smollm2-135m-instruct",)
