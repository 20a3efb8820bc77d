"""Execution on fake tensors, which hold no data."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from luthier.core.errors import UsageError

_READ = torch.ops.aten._local_scalar_dense.default
_MOST_WHOLE_NUMBERS = 2**20


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Make floating-point tensors created inside have shape, dtype and lifetime, but no data.

    Small integer and boolean tensors are real: positions and masks are computed as usual, so a
    program that checks whether a mask is full takes the same branch as with real data. Reading a
    floating-point number gives 1.0, so a check that the loss is finite passes.

    Raises:
        UsageError: the program depends on missing values, such as the expert a token is routed to,
            or uses an operator that torch cannot run on fake tensors.
    """
    fake = FakeTensorMode(allow_fallback_kernels=False, allow_non_fake_inputs=True)
    # Torch logs its own traceback before raising.
    log = logging.getLogger("torch._subclasses.fake_tensor")
    quiet, log.disabled = log.disabled, True
    try:
        with fake, _RealWholeNumbers(fake):
            yield
    except RuntimeError as error:  # the base class of all errors of fake tensors
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"this model cannot run on fake tensors: {reason}", fix="plan without the trace"
        ) from error
    finally:
        log.disabled = quiet


class _RealWholeNumbers(TorchDispatchMode):
    """Runs operators on small integer tensors for real, above a fake tensor mode."""

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self._fake = fake

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _READ and isinstance(args[0], FakeTensor) and args[0].is_floating_point():
            return 1.0
        if func is not _READ:
            result = func(*args, **kwargs)
            # The mode keeps weak references to tensors, but Module.to rejects tensors that have
            # any.
            self._fake.fake_tensor_converter.tensor_memo.clear()
            if any(isinstance(leaf, FakeTensor) for leaf in tree_iter((args, kwargs))):
                return result
            if not all(_small_and_whole(tensor) for tensor in _tensors(result)):
                return result
        with unset_fake_temporarily():
            return func(*args, **kwargs)


def _tensors(values: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_iter(values) if isinstance(leaf, Tensor))


def _small_and_whole(tensor: Tensor) -> bool:
    real = tensor.is_floating_point() or tensor.is_complex()
    return not real and tensor.numel() <= _MOST_WHOLE_NUMBERS
