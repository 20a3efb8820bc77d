"""The contract of a training objective.

An objective decides the kind of example that is trained on, the loss of a micro-batch of them, and
the weight by which that loss is divided. All else of a training (order, cut, accumulation, guards,
update, checkpoints) knows this contract only. A model that the loss is compared with, or any other
state, is an attribute of the objective.
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
    """An example, as far as order, guards and events know it."""

    @property
    def id(self) -> str:
        """The example's id."""

    @property
    def weight(self) -> float:
        """How much the loss counts the example, relative to the others."""


ExampleT = TypeVar("ExampleT", bound=Trainable)


class Objective(ABC, Generic[ExampleT]):
    """From a micro-batch to a summed loss and its weight.

    The loss of a step is the sum over its micro-batches, divided by the weight of the whole step;
    so it does not depend on how the step is cut.
    """

    unit: ClassVar[str]
    """One of those things over which a loss is a mean: ``token``."""

    @abstractmethod
    def sequences(self, examples: Sequence[ExampleT]) -> Sequence[TrainingExample]:
        """The token sequences of a forward pass over ``examples``, in the order of its layout."""

    @abstractmethod
    def length(self, example: ExampleT) -> int:
        """Tokens that the example takes in a forward pass."""

    @abstractmethod
    def trained_tokens(self, example: ExampleT) -> int:
        """Tokens that are predicted and counted in the loss."""

    @abstractmethod
    def loss_weight(self, example: ExampleT) -> float:
        """The example's part of the weight by which a summed loss is divided."""

    @abstractmethod
    def summed_loss(
        self,
        model: Any,
        examples: Sequence[ExampleT],
        device: torch.device,
        layout: Layout = VALIDATION_LAYOUT,
        factor: float = 1.0,
    ) -> Tensor:
        """The loss summed over a micro-batch, in one forward pass; a scalar that has a gradient.

        Args:
            model: a transformers or peft model.
            examples: the micro-batch.
            device: where the model is.
            layout: how sequences lie in the pass.
            factor: multiplies each example's weight.
        """

    def require_trained_tokens(self, examples: Sequence[ExampleT]) -> None:
        """Refuse examples of which nothing can be learned.

        Raises:
            DataError: not one token of them is predicted.
        """
        if not any(map(self.trained_tokens, examples)):
            raise DataError(
                "no token of the training examples is trained on",
                fix="see what is trained with 'luthier data show'",
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
        """The loss per unit over ``examples``; the model is left in evaluation mode.

        Examples are weighted as in training: the validation watches the loss that is minimised.
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
    """The power of two in which the weights of a batch are counted: the greatest is 1 to 2 of them.

    Only their relation matters, and losses are summed in float32, whose range they may exceed.
    Dividing by a power of two loses no bit.
    """
    greatest = max((example.weight for example in examples), default=0.0)
    return 2.0 ** (math.frexp(greatest)[1] - 1) if greatest else 1.0
