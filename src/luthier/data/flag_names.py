"""The names by which rows say what is trained, as published tools write them."""

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
"""Columns that say how much an example counts."""
AMBIGUOUS = ("mask",)
"""True is "masked, not trained" to some tools and "in the mask of trained turns" to others; in
NeMo it names the role that is not trained."""
PARTS = ("train_detail", "training_detail")
"""Axolotl: which characters of a turn are trained."""
PREFERENCES = ("label", "kto_tag")
"""Whether an answer is a good one, in data for KTO (TRL, LLaMA-Factory)."""
FLAGS = (*TRAINED_IF_TRUE, *HIDDEN_IF_TRUE, *AMBIGUOUS, *PARTS)
"""Every key by which a turn says whether it is trained."""
