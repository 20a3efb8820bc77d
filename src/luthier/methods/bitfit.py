"""BitFit: biases alone (Ben Zaken et al. 2022, arXiv 2106.10199)."""

from __future__ import annotations

from typing import Any

from luthier.config.methods import BitfitConfig
from luthier.methods.base import Method
from luthier.methods.selective import train_only
from luthier.models.load import LoadedModel


class BitfitMethod(Method):
    """Trains every parameter that is added to something, and none that is multiplied."""

    name = "bitfit"

    def __init__(self, config: BitfitConfig) -> None:
        self.config = config

    def prepare(self, loaded: LoadedModel) -> Any:
        """See `Method.prepare`.

        Raises:
            UsageError: the model has no biases, as Llama and its kin have none.
        """
        return train_only(loaded, "biases", lambda name: name.endswith("bias"))
