"""The model's own state between passes: keys and values, a recurrent state, or both.

The state is opaque: the model returns it, and the next pass hands it back.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from luthier.inference.local.soft_prompt import Conditioned
from luthier.models.forward import outputs_at_indices

# The names under which transformers' models return and accept their state.
_NAMES = ("past_key_values", "cache_params", "state", "mems")


class Read(NamedTuple):
    """Rows of equal length that a model has read.

    Attributes:
        name: the keyword under which the model accepts its state.
        state: the model's state; the next pass may change it.
        length: tokens of each row, a soft prompt included.
        logits_BV: the logits after the last token of each row.
    """

    name: str
    state: Any
    length: int
    logits_BV: Tensor

    def copied(self) -> Read:
        """A copy with a state of its own."""
        return self._replace(state=copy.deepcopy(self.state))

    def selected(self, rows: Sequence[int]) -> Read:
        """Some of the rows; the original must not be used any more."""
        rows_B = torch.tensor(rows, device=self.logits_BV.device)
        return self._replace(state=_selected(self.state, rows_B), logits_BV=self.logits_BV[rows_B])


class Reader:
    """Continues a state in one pass.

    Args:
        conditioned: the model.
    """

    def __init__(self, conditioned: Conditioned) -> None:
        self._whole, self._bare, self._soft_prompt = conditioned

    @property
    def device(self) -> torch.device:
        """The device for token ids."""
        device: torch.device = self._bare.device
        return device

    def begin(self, ids_BT: Tensor) -> Read:
        """Read from the beginning.

        Raises:
            NotImplementedError: the model returns no state.
        """
        length = self._soft_prompt.length + ids_BT.shape[1]
        return self._pass(self._whole, {"input_ids": ids_BT}, length)

    def go_on(self, read: Read, ids_BT: Tensor) -> Read:
        """Continue a state; ``read`` must not be used any more."""
        inputs = {"input_ids": ids_BT, read.name: read.state, **self._told(read, ids_BT)}
        return self._pass(self._bare, inputs, read.length + ids_BT.shape[1])

    def passes(self, tokens: int) -> int:
        """The number of passes that it takes to read ``tokens`` more tokens."""
        del tokens
        return 1

    def _told(self, read: Read, ids_BT: Tensor) -> dict[str, Tensor]:
        """The model's inputs besides its state and the token ids."""
        del read, ids_BT
        return {}

    def _pass(self, model: Any, inputs: dict[str, Any], length: int) -> Read:
        rows_B = torch.arange(len(inputs["input_ids"]), device=self.device)
        output = outputs_at_indices(
            model, inputs | {"use_cache": True}, rows_B, torch.full_like(rows_B, -1)
        )
        for name in _NAMES:
            state = getattr(output, name, None)
            if state is not None:
                return Read(name, state, length, output.logits)
        raise NotImplementedError("the model hands back no state")


class ReaderAtPositions(Reader):
    """A reader for models that need the positions of new tokens (Bamba)."""

    def _told(self, read: Read, ids_BT: Tensor) -> dict[str, Tensor]:
        end = read.length + ids_BT.shape[1]
        position_T = torch.arange(read.length, end, device=self.device)
        return {"position_ids": position_T.expand_as(ids_BT)}


class ReaderByToken(Reader):
    """A reader for models that continue a state by only one token (Mamba, Jamba, Zamba)."""

    def go_on(self, read: Read, ids_BT: Tensor) -> Read:
        """See `Reader.go_on`."""
        for place in range(ids_BT.shape[1]):
            read = super().go_on(read, ids_BT[:, place : place + 1])
        return read

    def passes(self, tokens: int) -> int:
        """See `Reader.passes`."""
        return tokens


def _selected(value: Any, rows_B: Tensor) -> Any:
    """Some rows of a state; the first dimension of its tensors is the batch."""
    if hasattr(value, "reorder_cache"):
        value.reorder_cache(rows_B)
        return value
    if isinstance(value, Tensor):
        return value[rows_B]
    if isinstance(value, list | tuple):
        return type(value)(_selected(each, rows_B) for each in value)
    raise NotImplementedError(f"a state of type {type(value).__name__}")
