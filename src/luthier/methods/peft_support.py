"""What the methods that peft implements share."""

from __future__ import annotations

from luthier.models.load import LoadedModel


def task_type(loaded: LoadedModel) -> str:
    """Peft's name for the kind of model."""
    return "SEQ_2_SEQ_LM" if loaded.is_encoder_decoder else "CAUSAL_LM"
