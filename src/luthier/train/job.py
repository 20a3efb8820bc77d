"""What the training loop is given."""

from __future__ import annotations

from dataclasses import dataclass

from luthier.config import MethodConfig, TrainConfig
from luthier.core.run_directory import RunDirectory
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

    @property
    def epochs(self) -> float:
        """Passes over the examples."""
        return self.method.epochs or self.train.epochs
