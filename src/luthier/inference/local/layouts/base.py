"""Base class of the layouts of texts in forward passes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from luthier.inference.local.budget import BatchLimits
from luthier.inference.local.radix_tree import Tokens


class ForwardBatch(NamedTuple):
    """A forward pass over some texts.

    Attributes:
        inputs: keyword arguments of the model's forward.
        firsts: row and column of the first token of each text.
        width: tokens of a row, padding included.
        cache: the KV cache after the pass, for texts that continue these; None: none can.
    """

    inputs: dict[str, Any]
    firsts: list[tuple[int, int]]
    width: int
    cache: Any


class Layout(ABC):
    """A way to lay out texts, each of which continues a text of an earlier pass."""

    def attention(self, model: Any) -> AbstractContextManager[None]:
        """A context in which the model computes passes of this layout."""
        del model
        return nullcontext()

    @abstractmethod
    def worth_a_node(self, pass_cost: float) -> float:
        """The number of tokens that a prefix must save to become a node of its own.

        Args:
            pass_cost: the cost of one more pass, as the number of tokens computed in that time.
        """

    @abstractmethod
    def begin(self) -> Any:
        """The empty cache that the first pass continues."""

    @abstractmethod
    def cut(
        self, lengths: Sequence[int], room: BatchLimits, cache: Any, *, go_on: bool
    ) -> list[list[int]]:
        """Cut texts into passes.

        Args:
            lengths: tokens of each text.
            room: the limits of a pass.
            cache: the cache that all of them continue.
            go_on: whether other texts will continue these.

        Returns:
            Indices into ``lengths``, one list for each pass, the longest first.
        """

    @abstractmethod
    def lay(
        self, texts: Sequence[Tokens], before: Sequence[int], cache: Any, device: torch.device
    ) -> ForwardBatch:
        """Lay out the texts of one pass.

        Args:
            texts: the new tokens of each text.
            before: for each text, the index of the text that it continues in the previous pass.
            cache: the cache of the previous pass.
            device: the model's device.
        """
