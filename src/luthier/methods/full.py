"""Full fine-tuning."""

from __future__ import annotations

from typing import Any

from luthier.config import FullConfig
from luthier.methods.base import Method
from luthier.methods.selective import train_only
from luthier.models.load import LoadedModel


class FullMethod(Method):
    """Trains every parameter; of a vision-language model, every one of the language model."""

    name = "full"

    def __init__(self, config: FullConfig) -> None:
        self.config = config

    def prepare(self, loaded: LoadedModel) -> Any:
        """See `Method.prepare`."""
        return train_only(loaded, "parameters", lambda _name: True)
