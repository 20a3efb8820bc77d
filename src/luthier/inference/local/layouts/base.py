"""What is common to all ways of laying out texts in forward passes."""

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
        cache: what the pass leaves, for texts that continue these; None: nothing can.
    """

    inputs: dict[str, Any]
    firsts: list[tuple[int, int]]
    width: int
    cache: Any


class Layout(ABC):
    """A way to lay out texts, each of which continues a text of an earlier pass."""

    def attention(self, model: Any) -> AbstractContextManager[None]:
        """The state in which a model is given such passes."""
        del model
        return nullcontext()

    @abstractmethod
    def worth_a_node(self, pass_cost: float) -> float:
        """How many tokens a prefix must spare so that it becomes a node of its own.

        Args:
            pass_cost: how many tokens could be computed in the time that one more pass takes.
        """

    @abstractmethod
    def begin(self) -> Any:
        """The cache of a pass that continues nothing."""

    @abstractmethod
    def cut(
        self, lengths: Sequence[int], room: BatchLimits, cache: Any, *, go_on: bool
    ) -> list[list[int]]:
        """Cut texts into passes.

        Args:
            lengths: tokens of each text.
            room: the limits of a pass.
            cache: what all of them continue.
            go_on: whether other texts will continue these.

        Returns:
            Indices into ``lengths``, a list a pass, the longest first.
        """

    @abstractmethod
    def lay(
        self, texts: Sequence[Tokens], before: Sequence[int], cache: Any, device: torch.device
    ) -> ForwardBatch:
        """One pass.

        Args:
            texts: what is new.
            before: which text of the pass before each continues.
            cache: that of the pass before.
            device: where the model is.
        """
