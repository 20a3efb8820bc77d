"""VeRA: trained scales of shared random matrices (Kopiczko et al. 2023, arXiv 2310.11454)."""

from __future__ import annotations

import warnings

from luthier.config.methods import VeraConfig
from luthier.methods.base import Adapted, Method
from luthier.methods.gradient_reach import Reach
from luthier.methods.new_tokens import saved_modules
from luthier.methods.peft_support import attach, targets_of, task_type
from luthier.models.load import LoadedModel


class VeraMethod(Method):
    """Trains ``diag(b)·B·diag(d)·A`` on frozen weights, with random A and B shared by all layers.

    b starts at zero. A and B are regenerated from a seed when the adapter is loaded.
    """

    name = "vera"

    def __init__(self, config: VeraConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`.

        Raises:
            UsageError: a target or an exclusion does not exist, or cannot be adapted.
        """
        import peft

        where = "methods.vera"
        targets = targets_of(loaded, self.config, where, reach)
        with warnings.catch_warnings():  # A and B are not saved on purpose
            warnings.filterwarnings("ignore", "Specified to not save vera_A")
            settings = peft.VeraConfig(
                task_type=task_type(loaded),
                r=self.config.rank,
                vera_dropout=self.config.dropout,
                target_modules=list(targets.modules),
                **saved_modules(loaded, self.config, where),
                save_projection=False,
            )
        return Adapted(attach(loaded, settings, where, targets.names), targets.notes)
