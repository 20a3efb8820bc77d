"""Bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751; Pfeiffer et al. 2020, 2005.00247)."""

from __future__ import annotations

from typing import Any

from luthier.config.methods import AdaptersConfig
from luthier.core.errors import UsageError
from luthier.methods.base import Method
from luthier.models.load import LoadedModel


class AdaptersMethod(Method):
    """Trains small networks after the sub-layers of each layer, inside the residual."""

    name = "adapters"

    def __init__(self, config: AdaptersConfig) -> None:
        self.config = config

    def prepare(self, loaded: LoadedModel) -> Any:
        """See `Method.prepare`.

        Raises:
            UsageError: no module has one of the names of attention's and the MLP's last products.
        """
        from luthier.methods.bottleneck import insert_adapters

        if not insert_adapters(loaded.model, self.config.bottleneck, self.config.placement):
            raise UsageError(
                f"{loaded.stamp.architecture} has no sub-layer that adapters can follow",
                where="methods.adapters.placement",
                fix="choose lora",
            )
        return loaded.model
