"""BitFit: training of biases only (Ben Zaken et al. 2022, arXiv 2106.10199)."""

from __future__ import annotations

from luthier.config.methods import BitfitConfig
from luthier.methods.base import Adapted, Method
from luthier.methods.gradient_reach import Reach
from luthier.methods.selective import train_only
from luthier.models.load import LoadedModel


class BitfitMethod(Method):
    """Trains every additive parameter (bias) and no multiplicative one."""

    name = "bitfit"

    def __init__(self, config: BitfitConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`.

        Raises:
            UsageError: the model has no biases that can learn, as in Llama and its relatives.
        """
        return train_only(loaded, reach, "biases", lambda name: name.endswith("bias"))
