"""The interface of tuning methods."""

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
    """A model prepared for training.

    Attributes:
        model: with trained parameters in place and all others frozen.
        notes: sentences about modules left unchanged although the user may expect otherwise.
    """

    model: Any
    notes: tuple[str, ...] = ()


def merge_first(adapter: AdapterFolder) -> str:
    """The advice to merge the adapter into its base model before tuning."""
    return f"merge it first: luthier merge {adapter.path} --output FOLDER, and tune that model"


class Method(ABC):
    """The choice of trained parameters.

    Training, saving and loading are the same for all methods: every parameter that requires a
    gradient is trained, and ``save_pretrained`` of the prepared model writes the result in the
    format of transformers or peft.
    """

    name: ClassVar[MethodName]
    # Set by `prepare`: sentences about modules left unchanged unexpectedly.
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> MethodFacts:
        """Facts that do not depend on its settings."""
        return FACTS[self.name]

    def prepare(self, loaded: LoadedModel) -> Any:
        """The model with trained parameters in place and all others frozen.

        The base model in ``loaded`` may be modified; load it again to restore it. New parameters
        are drawn from torch's global generator.

        A pass over a few tokens before and after checks that everything trained can learn; see
        `luthier.methods.gradient_reach`.

        Raises:
            UsageError: the model has no parameters for this method, or cannot be trained with it.
        """
        reach = require_pass(loaded, f"{loaded.stamp.architecture} cannot be trained")
        try:
            with numberless(loaded.device):
                adapted = self._adapt(loaded, reach)
        except (LuthierError, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # code of the model or of peft may raise anything
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
        """Prepare the model, between the two passes of `prepare`.

        Args:
            loaded: the model; it may be modified.
            reach: the modules and parameters that its output depends on.
        """

    def require_base(self, adapter: AdapterFolder | None) -> None:
        """Check that the method can start from an adapter.

        Args:
            adapter: the adapter on the base model; None: there is none.

        Raises:
            UsageError: it cannot; most methods start from a full model.
        """
        if adapter is not None:
            raise UsageError(
                f"{self.name} cannot continue an adapter ({adapter.kind}): it starts from a full "
                "model",
                where=str(adapter.path),
                fix=merge_first(adapter),
            )

    def hooks(self, model: Any, total_steps: int) -> MethodHooks:
        """The method's actions in every training step, besides the gradient of the loss.

        Args:
            model: the output of `prepare`.
            total_steps: total number of optimizer steps.
        """
        return MethodHooks()

    def while_training(self, model: Any, *, repeats: bool) -> AbstractContextManager[None]:
        """A context for training the model; most methods need none.

        Args:
            model: the output of `prepare`.
            repeats: whether identical examples recur.
        """
        return nullcontext()
