"""The interface of training objectives.

An objective defines the type of training example, the loss of a micro-batch, and the weight that
divides it. Everything else in a training (order, splitting, accumulation, guards, update,
checkpoints) depends only on this interface. A reference model or other state is an attribute of the
objective.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from luthier.core.errors import DataError
from luthier.distributed.parallelism import Parallelism, Replicated
from luthier.prompts.training_example import TrainingExample
from luthier.training.layout import VALIDATION_LAYOUT, Layout


class Trainable(Protocol):
    """An example, as seen by order, guards and events."""

    @property
    def id(self) -> str:
        """The example's id."""

    @property
    def weight(self) -> float:
        """The weight of the example in the loss, relative to the others."""

    @property
    def source(self) -> str:
        """The name of its source in a mixture; empty without a mixture."""


ExampleT = TypeVar("ExampleT", bound=Trainable)


class Objective(ABC, Generic[ExampleT]):
    """A function from a micro-batch to a summed loss and its weight.

    The loss of a step is the sum over its micro-batches, divided by the weight of the whole step,
    so it does not depend on the split.
    """

    unit: ClassVar[str]
    """The unit over which the loss is a mean, such as ``token``."""

    @abstractmethod
    def sequences(self, examples: Sequence[ExampleT]) -> Sequence[TrainingExample]:
        """The token sequences of a forward pass over ``examples``, in layout order."""

    @abstractmethod
    def length(self, example: ExampleT) -> int:
        """Tokens of the example in a forward pass."""

    @abstractmethod
    def trained_tokens(self, example: ExampleT) -> int:
        """Number of predicted tokens that count in the loss."""

    @abstractmethod
    def loss_weight(self, example: ExampleT) -> float:
        """The example's contribution to the weight that divides the summed loss."""

    @abstractmethod
    def summed_loss(
        self,
        model: Any,
        examples: Sequence[ExampleT],
        device: torch.device,
        layout: Layout = VALIDATION_LAYOUT,
        factor: float = 1.0,
    ) -> Tensor:
        """The loss summed over a micro-batch in one forward pass; a scalar with a gradient.

        Args:
            model: a transformers or peft model.
            examples: the micro-batch.
            device: the device of the model.
            layout: the layout of sequences in the pass.
            factor: multiplies each example's weight.
        """

    def require_trained_tokens(self, examples: Sequence[ExampleT]) -> None:
        """Check that the examples have trained tokens.

        Raises:
            DataError: they have none.
        """
        if not any(map(self.trained_tokens, examples)):
            raise DataError(
                "the training examples have no trained tokens",
                fix="check the trained tokens with 'luthier data show'",
            )

    @torch.no_grad()
    def mean_loss(
        self,
        model: Any,
        examples: Sequence[ExampleT],
        device: torch.device,
        batch_tokens: int,
        parallelism: Parallelism | None = None,
    ) -> float:
        """The mean loss per unit over ``examples``; the model is left in evaluation mode.

        Examples are weighted as in training, so that validation measures the minimised loss.
        """
        model.eval()
        parallelism = parallelism or Replicated()
        unit = weight_unit(examples)
        lengths = [self.length(example) for example in examples]
        cuts = VALIDATION_LAYOUT.cut(lengths, batch_tokens)
        total = torch.zeros((), dtype=torch.float64)
        for share in parallelism.shares(cuts, lengths):
            part = [examples[i] for i in share.indices]
            loss = self.summed_loss(model, part, device, factor=1 / unit)
            total += loss.double().cpu() * share.counts
        summed = float(parallelism.processes.sum(total))
        return summed / sum(self.loss_weight(example) / unit for example in examples)


def weight_unit(examples: Sequence[Trainable]) -> float:
    """The power of two that scales the weights of a batch, so that the largest is 1 to 2 units.

    Only relative weights matter, but losses are summed in float32, whose range they may exceed.
    Dividing by a power of two is exact.
    """
    greatest = max((example.weight for example in examples), default=0.0)
    return 2.0 ** (math.frexp(greatest)[1] - 1) if greatest else 1.0
