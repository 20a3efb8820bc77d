"""The keys with which published tools mark trained turns and rows."""

from __future__ import annotations

TRAINED_IF_TRUE = (
    "weight",
    "loss",
    "loss_mask",
    "loss_weight",
    "loss_scale",
    "train",
    "training",
    "trainable",
    "is_trained",
    "output_with_loss",
    "learn",
)
"""OpenAI, Mistral: weight. ms-swift: loss, loss_scale. LLaMA-Factory, verl: loss_mask. Axolotl:
train, training. Fireworks, Tinker: trainable. XTuner: output_with_loss."""
HIDDEN_IF_TRUE = ("masked",)
"""torchtune."""
WEIGHTS = ("weight", "loss_weight", "loss_scale", "sample_weight")
"""Columns with the weight of an example."""
AMBIGUOUS = ("mask",)
"""True means "masked, not trained" in some tools and "in the mask of trained turns" in others; in
NeMo it names the untrained role."""
PARTS = ("train_detail", "training_detail")
"""Axolotl: the trained characters of a turn."""
PREFERENCES = ("label", "kto_tag")
"""Whether an answer is good, in data for KTO (TRL, LLaMA-Factory)."""
FLAGS = (*TRAINED_IF_TRUE, *HIDDEN_IF_TRUE, *AMBIGUOUS, *PARTS)
"""All keys with which a turn states whether it is trained."""
