"""Actions of a method in every training step, besides the gradient of the loss."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


class MethodHooks:
    """A method's hooks into training; the base class does nothing, as most methods need none.

    Its state is saved with every checkpoint, so that a resumed training continues exactly.
    """

    def penalty(self) -> Tensor | None:
        """A scalar added to a step's loss once, not per micro-batch."""
        return None

    def after_update(self, step: int) -> None:
        """Modify weights after the optimizer's update; gradients are still available.

        Args:
            step: number of steps taken, including this one.
        """

    def tensors(self) -> dict[str, Tensor]:
        """The state as tensors."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state from `tensors`."""

    def finish(self) -> None:
        """Prepare the model for saving; its best weights are loaded."""
