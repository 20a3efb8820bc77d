"""Rectangles of tokens."""

from __future__ import annotations

import torch

from luthier.inference.local.padding import pad


def test_padding_on_either_side() -> None:
    left, mask = pad([[1, 2, 3], [4]], torch.device("cpu"), "left")
    assert left.tolist() == [[1, 2, 3], [0, 0, 4]]
    assert mask.tolist() == [[True] * 3, [False, False, True]]
    right, mask = pad([[1, 2, 3], [4]], torch.device("cpu"), "right")
    assert right.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert mask.tolist() == [[True] * 3, [True, False, False]]
    assert right.dtype == torch.int64
