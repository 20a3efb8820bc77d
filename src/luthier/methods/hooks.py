"""What a method does in every step beside the gradient of the loss."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


class MethodHooks:
    """Goes along with a training; this one does nothing, as most methods need nothing.

    What it remembers is saved with every checkpoint, so a resumed training goes on exactly.
    """

    def penalty(self) -> Tensor | None:
        """A scalar that is added to a step's loss, once and not for each micro-batch."""
        return None

    def after_update(self, step: int) -> None:
        """Change weights after the optimizer has; gradients are still there.

        Args:
            step: how many steps were taken, this one included.
        """

    def tensors(self) -> dict[str, Tensor]:
        """What it remembers."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave."""

    def finish(self) -> None:
        """Leave the model as it is to be saved; its best weights are in place."""
