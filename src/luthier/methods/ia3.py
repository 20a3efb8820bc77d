"""IA3: trained scales of inner activations (Liu et al. 2022, arXiv 2205.05638)."""

from __future__ import annotations

from luthier.config.methods import Ia3Config
from luthier.core.choices import IA3_INPUTS, IA3_OUTPUTS
from luthier.core.targets import ends_with
from luthier.methods.base import Adapted, Method
from luthier.methods.gradient_reach import Reach
from luthier.methods.new_tokens import saved_modules
from luthier.methods.peft_support import attach, targets_of, task_type
from luthier.models.load import LoadedModel


class Ia3Method(Method):
    """Trains a factor for each key, value and inner MLP activation; all start at one."""

    name = "ia3"

    def __init__(self, config: Ia3Config) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`.

        Raises:
            UsageError: a target or an exclusion does not exist or cannot be adapted; or no module
                has a usual name of keys, values and inner activations.
        """
        import peft

        config, where = self.config, "methods.ia3"
        is_default = config.targets == IA3_OUTPUTS + IA3_INPUTS
        absent = IA3_OUTPUTS + IA3_INPUTS if is_default else ()
        targets = targets_of(loaded, config, where, reach, absent=absent)
        settings = peft.IA3Config(
            task_type=task_type(loaded),
            # Full names; peft requires those of the second list in the first, too.
            target_modules=list(targets.modules),
            feedforward_modules=[
                name for name in targets.modules if ends_with(name, config.feedforward_modules)
            ],
            exclude_modules=list(targets.not_adapted) or None,
            **saved_modules(loaded, config, where),
        )
        return Adapted(attach(loaded, settings, where, targets.names), targets.notes)
