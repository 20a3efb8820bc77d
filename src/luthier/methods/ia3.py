"""IA3: trained scales of inner activations (Liu et al. 2022, arXiv 2205.05638)."""

from __future__ import annotations

from typing import Any

from luthier.config.methods import Ia3Config
from luthier.methods.base import Method
from luthier.methods.peft_support import attach, task_type
from luthier.models.load import LoadedModel
from luthier.plan.methods import IA3_INPUTS, IA3_OUTPUTS


class Ia3Method(Method):
    """Trains a factor for each key, value and inner activation of the MLP; all start at one."""

    name = "ia3"

    def __init__(self, config: Ia3Config) -> None:
        self.config = config

    def prepare(self, loaded: LoadedModel) -> Any:
        """See `Method.prepare`.

        Raises:
            UsageError: no module has one of the names of keys, values and inner activations.
        """
        import peft

        settings = peft.IA3Config(
            task_type=task_type(loaded),
            target_modules=[*IA3_OUTPUTS, *IA3_INPUTS],
            feedforward_modules=list(IA3_INPUTS),
        )
        return attach(loaded, settings)
