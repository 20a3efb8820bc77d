"""Encoding of prompts with an encoder-decoder model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from luthier.inference.local.padding import pad
from luthier.inference.local.soft_prompt import SoftPrompt


def encode(
    model: Any, soft_prompt: SoftPrompt, contexts: Sequence[Sequence[int]]
) -> tuple[Any, Tensor]:
    """Encode some contexts, each after the vectors of a soft prompt.

    Returns:
        The encoder's output, ``[B, T, D]`` in its ``last_hidden_state``, and ``mask_BT`` (int64).
    """
    ids_BT, mask_BT = pad(contexts, model.device, "right")
    embeds_BTD = model.get_input_embeddings()(ids_BT)
    if soft_prompt.vectors_VD is not None:
        soft_BVD = soft_prompt.vectors_VD.expand(len(contexts), -1, -1)
        embeds_BTD = torch.cat([soft_BVD, embeds_BTD], dim=1)
        mask_BT = torch.nn.functional.pad(mask_BT, (soft_BVD.shape[1], 0), value=True)
    mask_BT = mask_BT.long()
    return model.get_encoder()(inputs_embeds=embeds_BTD, attention_mask=mask_BT), mask_BT
