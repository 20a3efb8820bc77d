"""Bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751; Pfeiffer et al. 2020, 2005.00247)."""

from __future__ import annotations

from luthier.config.methods import AdaptersConfig
from luthier.core.errors import UsageError
from luthier.methods.base import Adapted, Method
from luthier.methods.gradient_reach import Reach
from luthier.methods.untrained import notes_on_mute
from luthier.models.load import LoadedModel


class AdaptersMethod(Method):
    """Trains small networks after the sub-layers of each layer, before the residual sum."""

    name = "adapters"

    def __init__(self, config: AdaptersConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`.

        Raises:
            UsageError: no module has a usual name of the last projection of attention or MLP.
        """
        from luthier.methods.bottleneck import insert_adapters, places

        found = places(loaded.model, self.config.placement)
        names = [name for name in found if reach.has_module(name)]
        if not names:
            raise UsageError(
                f"{loaded.stamp.architecture} has no sub-layers for bottleneck adapters",
                where="methods.adapters.placement",
                fix="choose lora",
            )
        insert_adapters(loaded.model, names, self.config.bottleneck)
        return Adapted(loaded.model, notes_on_mute([n for n in found if n not in names]))
