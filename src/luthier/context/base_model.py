"""The base model, loaded lazily, and again after a method has changed it."""

from __future__ import annotations

import dataclasses
import gc

import torch

from luthier.config import ModelConfig
from luthier.methods import load
from luthier.models.load import LoadedModel, ModelHandle


class BaseModel:
    """A cache of one loaded model, shared by the rungs that do not change it."""

    def __init__(self, handle: ModelHandle) -> None:
        self._handle = handle
        self._loaded: LoadedModel | None = None

    def get(self) -> LoadedModel:
        """The base model, for use without changes."""
        if self._loaded is None:
            gc.collect()  # the previous rung's tuned model may not be freed yet
            self._loaded = load(self._handle)
        return self._loaded

    def take(self, wanted: ModelConfig, place: torch.device | None = None) -> LoadedModel:
        """The base model, for a method that changes it; the next `get` loads it again.

        Args:
            wanted: the configuration to load with, which may quantise a base that is not quantised.
            place: the device for its weights; None: the device that it computes on.
        """
        if wanted != self._handle.config or place:
            self._loaded = None
            gc.collect()
            return load(dataclasses.replace(self._handle, config=wanted), place=place)
        loaded = self.get()
        self._loaded = None
        return loaded
