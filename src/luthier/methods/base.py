"""What a tuning method is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from luthier.core.errors import LuthierError, UsageError
from luthier.core.method_facts import FACTS, MethodFacts, MethodName
from luthier.methods.gradient_reach import Reach, reason_of, require_learning, require_pass
from luthier.methods.hooks import MethodHooks
from luthier.methods.meta_device import numberless
from luthier.models.adapter_folder import AdapterFolder
from luthier.models.load import LoadedModel


@dataclass(frozen=True, slots=True)
class Adapted:
    """A model that is ready to be trained.

    Attributes:
        model: with its trained parameters in place and all others frozen.
        notes: what is left as it is although it could have been meant, in sentences.
    """

    model: Any
    notes: tuple[str, ...] = ()


def merge_first(adapter: AdapterFolder) -> str:
    """The advice to tune the model that base and adapter make together."""
    return f"merge it first: luthier merge {adapter.path} --output FOLDER, and tune that model"


class Method(ABC):
    """Chooses what is trained.

    Training, saving and loading are the same for all methods: whatever parameter requires a
    gradient is trained, and ``save_pretrained`` of the prepared model writes what was made in the
    ecosystem's own format.
    """

    name: ClassVar[MethodName]
    # What `prepare` left as it is although it could have been meant, in sentences.
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> MethodFacts:
        """What holds for it whatever its settings."""
        return FACTS[self.name]

    def prepare(self, loaded: LoadedModel) -> Any:
        """The model with its trained parameters in place and all others frozen.

        The base model inside ``loaded`` may be changed; load it again to have it as it was.
        New parameters are drawn from torch's global generator.

        A pass of a few tokens before, and one after, find out whether whatever is trained can
        learn; see `luthier.methods.gradient_reach`.

        Raises:
            UsageError: the model has nothing for this method, or cannot be trained with it.
        """
        reach = require_pass(loaded, f"{loaded.stamp.architecture} cannot be trained")
        try:
            with numberless(loaded.device):
                adapted = self._adapt(loaded, reach)
        except (LuthierError, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # a model's own code, or peft's, may stumble anywhere
            raise UsageError(
                f"{self.name} cannot adapt {loaded.stamp.architecture}: {reason_of(error)}",
                where=f"methods.{self.name}",
                fix="choose another method, such as lora",
            ) from error
        self.notes = adapted.notes
        if reach.is_known:
            tuned = replace(loaded, model=adapted.model)
            require_learning(tuned, self.name)
        return adapted.model

    @abstractmethod
    def _adapt(self, loaded: LoadedModel, reach: Reach) -> Adapted:
        """What `prepare` does between the passes.

        Args:
            loaded: the model; it may be changed.
            reach: what its output depends on.
        """

    def require_base(self, adapter: AdapterFolder | None) -> None:
        """Check that the method can go on from a model that is an adapter.

        Args:
            adapter: the adapter beside the base model; None: there is none.

        Raises:
            UsageError: it cannot; most methods begin with a whole model.
        """
        if adapter is not None:
            raise UsageError(
                f"{self.name} cannot go on with an adapter ({adapter.kind}): it begins with a "
                "whole model",
                where=str(adapter.path),
                fix=merge_first(adapter),
            )

    def hooks(self, model: Any, total_steps: int) -> MethodHooks:
        """What the method does in every step of a training beside the gradient of the loss.

        Args:
            model: what `prepare` gave.
            total_steps: optimizer steps of the whole training.
        """
        return MethodHooks()

    def while_training(self, model: Any, *, repeats: bool) -> AbstractContextManager[None]:
        """What is in place while the model trains, and gone after; most methods need nothing.

        Args:
            model: as `prepare` has made it.
            repeats: whether examples come again, just as they were.
        """
        return nullcontext()
