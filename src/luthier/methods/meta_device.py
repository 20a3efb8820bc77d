"""Running a model's code on the meta device, where tensors have shapes but no data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


def numberless(device: torch.device) -> AbstractContextManager[object]:
    """On the meta device, answer reads of values within the block; elsewhere do nothing."""
    return _Numberless() if device.type == "meta" else nullcontext()


class _Numberless(TorchDispatchMode):
    """Answers reads of values of tensors without data: each is zero, except one.

    So loops over selected experts run once, and masks are neither full nor empty. Tokens split by
    counts all go to the first expert.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        first: Any = args[0] if args else None
        if isinstance(first, Tensor) and first.is_meta:
            if func is torch.ops.aten._local_scalar_dense.default:
                return torch.zeros((), dtype=first.dtype).item()
            if func is torch.ops.aten.nonzero.default:
                return torch.empty((1, first.dim()), dtype=torch.long, device="meta")
            if func is torch.ops.aten._to_copy.default and _leaves(kwargs.get("device")):
                return torch.zeros(first.shape, dtype=kwargs.get("dtype") or first.dtype)
            if func is torch.ops.aten.split_with_sizes.default:
                args = (first, _whole(first.shape[(*args, 0)[2]], args[1]), *args[2:])
            if func is torch.ops.aten._grouped_mm.default:  # the meta kernel supports bfloat16 only
                return first.new_empty((*first.shape[:-1], args[1].shape[-1]))
        return func(*args, **kwargs)


def _leaves(device: torch.device | None) -> bool:
    return device is not None and device.type != "meta"


def _whole(length: int, sizes: Sequence[int]) -> list[int]:
    """Computed sizes, which are zeros here, as parts of a length: the first part gets the rest."""
    return [length - sum(sizes[1:]), *sizes[1:]]
