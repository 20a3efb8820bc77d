"""The model's own cache or state, whatever it is: keys and values, a recurrent state, or both.

It is what the model makes by itself and hands back, so that nothing needs to be known of it. A
recurrent state would take in padding like text, so only prompts of one length are read together.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from luthier.inference.decoding import Rows
from luthier.inference.reuse.base import Reuse, of_one_length
from luthier.inference.soft_prompt import Conditioned
from luthier.models.forward import outputs_at_indices

# The names under which transformers' models hand back and take what they carry on.
_NAMES = ("past_key_values", "cache_params", "state", "mems")


class _State(NamedTuple):
    """What a model carries on, and the name under which it takes it."""

    name: str
    value: Any


class _OwnRows(Rows):
    """Rows of one length that a model continues with its own state.

    Args:
        model: what continues them.
        state: what it has read.
        length: how many tokens that is in each row, a soft prompt included.
        logits_BV, prompts: see `Rows`.
    """

    def __init__(
        self,
        model: Any,
        state: _State,
        length: int,
        logits_BV: Tensor,
        prompts: Sequence[int],
    ) -> None:
        super().__init__(logits_BV, prompts)
        self._model, self._state, self._length = model, state, length

    def _select(self, rows: Sequence[int]) -> None:
        name, value = self._state
        self._state = _State(name, _selected(value, torch.tensor(rows, device=self._model.device)))

    def step(self, tokens: Sequence[int]) -> Tensor:
        """See `Rows.step`."""
        input_B1 = torch.tensor(tokens, device=self._model.device)[:, None]
        inputs = {"input_ids": input_B1, self._state.name: self._state.value}
        self._state, logits_BV = _forward(self._model, inputs | self._told(input_B1))
        self._length += 1
        return logits_BV

    def copied(self) -> _OwnRows:
        """The same rows with a state of their own."""
        other = copy.copy(self)
        other._state = copy.deepcopy(self._state)
        return other

    def _told(self, input_B1: Tensor) -> dict[str, Tensor]:
        """What a model is told beside its state."""
        del input_B1
        return {}


class _PlacedRows(_OwnRows):
    """For models that do not know by themselves where their state ends (Bamba)."""

    def _told(self, input_B1: Tensor) -> dict[str, Tensor]:
        return {"position_ids": torch.full_like(input_B1, self._length)}


class _SingleRows(Rows):
    """Rows with a state each, which the model continues one after the other."""

    def __init__(self, rows: Sequence[_OwnRows]) -> None:
        logits_BV = torch.cat([row.logits_BV for row in rows])
        super().__init__(logits_BV, [prompt for row in rows for prompt in row.prompts])
        self._rows = list(rows)

    def _select(self, rows: Sequence[int]) -> None:
        chosen = [self._rows[row] for row in rows]
        self._rows = [
            row.copied() if row in chosen[:place] else row for place, row in enumerate(chosen)
        ]

    def step(self, tokens: Sequence[int]) -> Tensor:
        """See `Rows.step`."""
        made = [row.step([token]) for row, token in zip(self._rows, tokens, strict=True)]
        return torch.cat(made)


class OwnState(Reuse):
    """Every prompt is read from its beginning, and its answer continues the model's own state."""

    description: ClassVar[str] = "the model's own cache or state, prompts of one length together"
    _rows: ClassVar[type[_OwnRows]] = _OwnRows

    def __init__(self, conditioned: Conditioned) -> None:
        self._whole, self._bare, self._soft_prompt = conditioned

    def start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[Rows]:
        """See `Reuse.start`."""
        del pass_cost
        for together in of_one_length(prompts, batch):
            yield self._read(prompts, together)

    def _read(self, prompts: Sequence[Sequence[int]], together: list[int]) -> _OwnRows:
        """Read prompts of one length."""
        input_BT = torch.tensor([prompts[i] for i in together], device=self._bare.device)
        state, logits_BV = _forward(self._whole, {"input_ids": input_BT})
        length = self._soft_prompt.length + input_BT.shape[1]
        return self._rows(self._bare, state, length, logits_BV, together)


class OwnStateAtPositions(OwnState):
    """The same with the position of each new token."""

    _rows: ClassVar[type[_OwnRows]] = _PlacedRows


class OwnStateByRow(OwnState):
    """A state for each prompt, for models whose state cannot be cut into rows (RWKV, MiniMax)."""

    description: ClassVar[str] = "the model's own cache or state, prompts one by one"

    def start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[Rows]:
        """See `Reuse.start`."""
        del pass_cost
        if batch:
            yield _SingleRows([self._read(prompts, [index]) for index in batch])


def _forward(model: Any, inputs: dict[str, Any]) -> tuple[_State, Tensor]:
    """A pass; what it leaves, and the logits after the last token of each row."""
    rows_B = torch.arange(len(inputs["input_ids"]), device=model.device)
    output = outputs_at_indices(
        model, inputs | {"use_cache": True}, rows_B, torch.full_like(rows_B, -1)
    )
    found = (_State(name, getattr(output, name, None)) for name in _NAMES)
    state = next((state for state in found if state.value is not None), None)
    if state is None:
        raise NotImplementedError("the model hands back no state")
    return state, output.logits


def _selected(value: Any, rows_B: Tensor) -> Any:
    """Some rows of a state, whose tensors have a row each in their first dimension."""
    if hasattr(value, "reorder_cache"):
        value.reorder_cache(rows_B)
        return value
    if isinstance(value, Tensor):
        return value[rows_B]
    if isinstance(value, list | tuple):
        return type(value)(_selected(each, rows_B) for each in value)
    raise NotImplementedError(f"a state of type {type(value).__name__}")
