"""Padding of token ids to rectangles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

# Padding is computed like any token. A dozen rows keep the arithmetic units as busy as more rows
# do, so rows of equal length are worth more than many rows.
MAX_PADDING = 0.1


def pad(
    sequences: Sequence[Sequence[int]], device: torch.device, side: Literal["left", "right"]
) -> tuple[Tensor, Tensor]:
    """Token ids as a rectangle padded with zeros, and the mask of the real tokens.

    Returns:
        ``ids_BT`` (int64) and ``mask_BT`` (bool).
    """
    width = max(map(len, sequences))
    ids_BT = torch.zeros(len(sequences), width, dtype=torch.long)
    mask_BT = torch.zeros(len(sequences), width, dtype=torch.bool)
    for row, ids in enumerate(sequences):
        place = slice(width - len(ids), width) if side == "left" else slice(0, len(ids))
        ids_BT[row, place] = torch.tensor(list(ids), dtype=torch.long)
        mask_BT[row, place] = True
    return ids_BT.to(device), mask_BT.to(device)
