"""Token-by-token decoding strategies, with one hypothesis for each prompt."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor

from luthier.inference.local.decoding.base import Decoder, Rows
from luthier.inference.local.decoding.constraints import Constraints
from luthier.inference.local.decoding.stopping import Stopping

# Dropping finished rows copies the cache, so it waits until this share of the rows has finished.
_COMPACT_FRACTION = 0.25


class StepwiseDecoder(Decoder):
    """Chooses the next token of each row. Finished rows leave the batch.

    Args:
        constraints: the constraints of the model's generation config.
    """

    def __init__(self, constraints: Constraints) -> None:
        self._constraints = constraints

    def decode(self, rows: Rows, stopping: Stopping) -> dict[int, list[int]]:
        """See `Decoder.decode`."""
        answers: dict[int, list[int]] = {prompt: [] for prompt in rows.prompts}
        running = set(answers)
        logits_BV = rows.logits_BV
        for position in range(stopping.max_new_tokens):
            said = [answers[prompt] for prompt in rows.prompts]
            allowed_BV = self._constraints.apply(logits_BV, rows.prompts, said)
            tokens = self._choose(allowed_BV, rows.prompts, position).tolist()
            for prompt, token in zip(rows.prompts, tokens, strict=True):
                if prompt in running:
                    answers[prompt].append(token)
                    if stopping.is_over(answers[prompt]):
                        running.remove(prompt)
            if not running:
                break
            if len(running) <= (1 - _COMPACT_FRACTION) * len(rows.prompts):
                kept = [row for row, prompt in enumerate(rows.prompts) if prompt in running]
                rows.select(kept)
                tokens = [tokens[row] for row in kept]
            logits_BV = rows.step(tokens)
        return answers

    @abstractmethod
    def _choose(self, logits_BV: Tensor, prompts: Sequence[int], position: int) -> Tensor:
        """The next token of each row, ``[B]``.

        Args:
            logits_BV: the logits of the next token.
            prompts: the index of each row's prompt.
            position: the number of tokens that each answer has.
        """


class GreedyDecoder(StepwiseDecoder):
    """Chooses the likeliest token at each step."""

    def _choose(self, logits_BV: Tensor, prompts: Sequence[int], position: int) -> Tensor:
        return logits_BV.argmax(-1)
