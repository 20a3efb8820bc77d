"""Generation without reuse: each token takes a forward pass over the whole text.

This is the definition of greedy decoding and suits any model. It is slow, because the work grows
with the square of the text's length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from luthier.inference.local.decoding import Rows
from luthier.inference.local.reuse.base import PREFILL_TOKENS, Reuse, of_one_length
from luthier.inference.local.soft_prompt import Conditioned
from luthier.models.forward import outputs_at_indices, without_cache


class _AfreshRows(Rows):
    """Rows of equal length, as token ids.

    Args:
        model: the model as it was loaded.
        ids_BT: the texts so far.
        prompts: see `Rows`.
    """

    def __init__(self, model: Any, ids_BT: Tensor, prompts: Sequence[int]) -> None:
        self._model, self._ids_BT = model, ids_BT
        super().__init__(self._logits(), prompts)

    def _select(self, rows: Sequence[int]) -> None:
        self._ids_BT = self._ids_BT[torch.tensor(rows, device=self._ids_BT.device)]

    def step(self, tokens: Sequence[int]) -> Tensor:
        """See `Rows.step`."""
        new_B1 = torch.tensor(tokens, device=self._ids_BT.device)[:, None]
        self._ids_BT = torch.cat([self._ids_BT, new_B1], dim=1)
        return self._logits()

    def _logits(self) -> Tensor:
        rows_B = torch.arange(len(self._ids_BT), device=self._ids_BT.device)
        inputs = {"input_ids": self._ids_BT, **without_cache(self._model)}
        output = outputs_at_indices(self._model, inputs, rows_B, torch.full_like(rows_B, -1))
        logits_BV: Tensor = output.logits
        return logits_BV


class Afresh(Reuse):
    """Whole texts, in batches of equal length, so that there is no padding."""

    description: ClassVar[str] = "nothing: every token is made from the whole text"
    _tokens: ClassVar[int] = PREFILL_TOKENS

    def __init__(self, conditioned: Conditioned) -> None:
        self._whole = conditioned.whole

    def start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[Rows]:
        """See `Reuse.start`."""
        del pass_cost
        for together in of_one_length(prompts, batch, self._tokens):
            ids_BT = torch.tensor([prompts[i] for i in together], device=self._whole.device)
            yield _AfreshRows(self._whole, ids_BT, together)


class AfreshByRow(Afresh):
    """Whole texts, one by one, for models in which rows of a batch affect one another."""

    description: ClassVar[str] = "nothing: every token is made from the whole text, one by one"
    _tokens: ClassVar[int] = 1
