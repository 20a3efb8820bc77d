"""The named choices of a training, for the configuration and for the planner alike.

The planner says which of its plans `tune` can run. It loads no configuration, so what both need
stands here once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
OptimizerName = Literal["adamw", "adamw-8bit", "paged-adamw-8bit", "adafactor", "sgd"]
Checkpointing = Literal["none", "selective", "full"]
Parallelism = Literal["ddp", "zero2", "fsdp"]
# IA3 scales keys and values, where they are outputs of their own or of one product with the
# queries, and the MLP's inner activations, which are the input of its last product.
IA3_OUTPUTS = ("k_proj", "v_proj", "k", "v", "c_attn", "query_key_value", "qkv_proj")
IA3_INPUTS = ("down_proj", "fc2", "wo", "mlp.c_proj", "dense_4h_to_h")
# What bottleneck adapters follow, by their placement: the outputs of both sub-layers, of attention
# and of the MLP (Houlsby et al.), or the MLP's last product only (Pfeiffer et al.).
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
# What every machine has; any other name leads outside of Luthier.
BUNDLED_DATA = ("python-docstrings", "python-topics")
BUNDLED_MODELS = ("smollm2-135m-instruct",)
