"""What a tuning method trains in a model, as typed records."""

from __future__ import annotations

from luthier.records.base import Count, Record
from luthier.records.evaluation import ModelStamp


class TrainedGroup(Record):
    """Trained tensors that are alike but for the number of their layer.

    Attributes:
        pattern: their name, with a star for that number.
        tensors: how many there are.
        shape: of each.
        dtype: of each.
        parameters: numbers in all of them.
        share: of all numbers that are trained.
    """

    pattern: str
    tensors: Count
    shape: tuple[int, ...]
    dtype: str
    parameters: Count
    share: float


class Neighbour(Record):
    """A piece of the vocabulary near a vector.

    Attributes:
        id: of the token.
        text: what it stands for.
        similarity: the cosine between its embedding and the vector.
    """

    id: int
    text: str
    similarity: float


class Inspection(Record):
    """What a method trains, and for a soft prompt, which words its vectors are near.

    Attributes:
        method: its name.
        model: the base model.
        groups: what is trained.
        trained_parameters: numbers that are trained.
        total_parameters: numbers in the model, with what the method adds.
        neighbours: of each vector of a soft prompt, the nearest first; none of other methods.
        tuned_run: the run whose vectors these are; None: those with which a training starts.
    """

    method: str
    model: ModelStamp
    groups: tuple[TrainedGroup, ...]
    trained_parameters: Count
    total_parameters: Count
    neighbours: tuple[tuple[Neighbour, ...], ...] = ()
    tuned_run: str | None = None
