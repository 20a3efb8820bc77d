"""The trained parameters of a tuning method, as typed records."""

from __future__ import annotations

from luthier.records.base import Count, Record
from luthier.records.evaluation import ModelStamp


class TrainedGroup(Record):
    """Trained tensors that differ only in their layer number.

    Attributes:
        pattern: their name, with a star for the layer number.
        tensors: the number of tensors.
        shape: the shape of each.
        dtype: the dtype of each.
        parameters: the total number of parameters.
        share: the share of all trained parameters.
    """

    pattern: str
    tensors: Count
    shape: tuple[int, ...]
    dtype: str
    parameters: Count
    share: float


class Neighbour(Record):
    """A token whose embedding is near a vector.

    Attributes:
        id: the token id.
        text: the text of the token.
        similarity: the cosine between its embedding and the vector.
    """

    id: int
    text: str
    similarity: float


class Inspection(Record):
    """The trained parameters of a method and, for a soft prompt, the tokens near its vectors.

    Attributes:
        method: its name.
        model: the base model.
        groups: the trained tensors.
        trained_parameters: the number of trained parameters.
        total_parameters: the number of parameters in the model, including added ones.
        neighbours: nearest tokens of each soft prompt vector, nearest first; empty for other
            methods.
        tuned_run: the run with the tuned vectors; None: the vectors are the initial ones.
    """

    method: str
    model: ModelStamp
    groups: tuple[TrainedGroup, ...]
    trained_parameters: Count
    total_parameters: Count
    neighbours: tuple[tuple[Neighbour, ...], ...] = ()
    tuned_run: str | None = None
