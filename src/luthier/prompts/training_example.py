"""An example as training sees it: tokens, and which of them count."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """Tokens, and which of them count.

    Attributes:
        id: the example's id.
        input_ids: the whole conversation; for encoder-decoder models, the encoder's input.
        trained: as long as ``input_ids``: whether a token is predicted and counted in the loss.
            The first one never is, since nothing comes before it.
        prompt_length: how many of ``input_ids`` stand before the last answer.
        decoder_ids: the answer for encoder-decoder models, all of it trained; else empty.
        weight: how much the loss counts the example, relative to the others.
        is_joined: the tokens are those of a prompt, and of an answer apart. The tokens of the whole
            text would be others: one would have characters of both.
    """

    id: str
    input_ids: tuple[int, ...]
    trained: tuple[bool, ...]
    prompt_length: int
    decoder_ids: tuple[int, ...] = ()
    weight: float = 1.0
    is_joined: bool = False

    @property
    def length(self) -> int:
        """Tokens, prompt and answer."""
        return len(self.input_ids) + len(self.decoder_ids)

    @property
    def num_trained(self) -> int:
        """Tokens that are counted in the loss."""
        return sum(self.trained) + len(self.decoder_ids)
