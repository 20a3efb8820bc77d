"""What the training loop is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from luthier.config import MethodConfig, RunConfig, TrainConfig
from luthier.config.methods import MethodName
from luthier.core.errors import UsageError
from luthier.core.inputs import Inputs
from luthier.core.run_directory import RunDirectory
from luthier.distributed.parallelism import Parallelism, Replicated
from luthier.methods import method_for
from luthier.models.load import LoadedModel
from luthier.prompts.render import TrainingExample


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training, complete.

    Attributes:
        loaded: a model that a method has prepared: what requires a gradient is trained.
        method_name: for the records.
        method: learning rate, weight decay, epochs.
        train: the loop's settings.
        examples: the tokenised training examples.
        validation: the tokenised validation examples; may be empty.
        seed: the seed of order and dropout.
        run: where metrics, events and checkpoints go.
        fingerprint: of everything that decides the result; a checkpoint of another is refused.
        inputs: what the fingerprint is made of, so that a difference can be named.
        parallelism: how processes share the work; by default there is one.
    """

    loaded: LoadedModel
    method_name: str
    method: MethodConfig
    train: TrainConfig
    examples: tuple[TrainingExample, ...]
    validation: tuple[TrainingExample, ...]
    seed: int
    run: RunDirectory
    fingerprint: str
    inputs: Inputs = field(default_factory=dict)
    parallelism: Parallelism = field(default_factory=Replicated)

    @property
    def epochs(self) -> float:
        """Passes over the examples."""
        return self.method.epochs or self.train.epochs


def prepare_model(base: LoadedModel, name: MethodName, config: RunConfig) -> Any:
    """The model as the method called ``name`` prepares it; ``base`` is changed.

    Raises:
        UsageError: the model has nothing for this method, or the loop's settings rule it out.
    """
    method = method_for(name, config.methods)
    if config.train.activation_checkpointing != "none" and not method.recomputable:
        raise UsageError(
            f"{name} keeps keys and values, which activation checkpointing would compute again",
            where="train.activation_checkpointing",
            fix="switch it off, or choose prompt-tuning",
        )
    return method.prepare(base)
