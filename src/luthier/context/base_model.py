"""The base model, loaded when it is first needed and again after a method has changed it."""

from __future__ import annotations

import dataclasses
import gc

import torch

from luthier.config import ModelConfig
from luthier.methods import load
from luthier.models.load import LoadedModel, ModelHandle


class BaseModel:
    """Shares one loaded model among the rungs that leave it as it is."""

    def __init__(self, handle: ModelHandle) -> None:
        self._handle = handle
        self._loaded: LoadedModel | None = None

    def get(self) -> LoadedModel:
        """The base model, to be used but not changed."""
        if self._loaded is None:
            gc.collect()  # a tuned model of the rung before may still wait to be freed
            self._loaded = load(self._handle)
        return self._loaded

    def take(self, wanted: ModelConfig, place: torch.device | None = None) -> LoadedModel:
        """The base model, to be changed; the next `get` loads it afresh.

        Args:
            wanted: how it is loaded, which may be quantised where the base is not.
            place: where its weights are put; None: where it computes.
        """
        if wanted != self._handle.config or place:
            self._loaded = None
            gc.collect()
            return load(dataclasses.replace(self._handle, config=wanted), place=place)
        loaded = self.get()
        self._loaded = None
        return loaded
