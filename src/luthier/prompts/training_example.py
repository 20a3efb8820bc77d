"""A training example: tokens and their loss mask."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """Tokens and their loss mask.

    Attributes:
        id: the example's id.
        input_ids: the whole conversation; for encoder-decoder models, the encoder's input.
        trained: the loss mask: for each of ``input_ids``, whether it is predicted and counted in
            the loss. The first token never is, because nothing comes before it.
        prompt_length: the number of ``input_ids`` before the last answer.
        decoder_ids: the answer for encoder-decoder models, all of it trained; else empty.
        weight: the example's weight in the loss, relative to the others.
        is_joined: whether prompt and answer were tokenised separately, because one token of the
            whole text would have characters of both.
        source: the name of its source in a mixture; empty without a mixture.
    """

    id: str
    input_ids: tuple[int, ...]
    trained: tuple[bool, ...]
    prompt_length: int
    decoder_ids: tuple[int, ...] = ()
    weight: float = 1.0
    is_joined: bool = False
    source: str = ""

    @property
    def length(self) -> int:
        """The number of tokens, prompt and answer."""
        return len(self.input_ids) + len(self.decoder_ids)

    @property
    def num_trained(self) -> int:
        """The number of tokens that are counted in the loss."""
        return sum(self.trained) + len(self.decoder_ids)
