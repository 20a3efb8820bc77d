"""Full fine-tuning."""

from __future__ import annotations

from luthier.config import FullConfig
from luthier.methods.base import Adapted, Method
from luthier.methods.gradient_reach import Reach
from luthier.methods.selective import train_only
from luthier.models.load import LoadedModel


class FullMethod(Method):
    """Trains every parameter; in a vision-language model, those of the language model."""

    name = "full"

    def __init__(self, config: FullConfig) -> None:
        self.config = config

    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """See `Method.prepare`."""
        return train_only(loaded, reach, "parameters", lambda _name: True)
