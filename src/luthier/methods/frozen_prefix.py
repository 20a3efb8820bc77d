"""Caching of frozen lower layers, whose outputs are computed once per example.

The input of the first trained layer depends only on an example's tokens, as long as nothing below
it is trained or random. So later epochs reuse the cached outputs, and the rest of the pass is
unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils.rnn import pad_sequence

from luthier.models.cache_support import rope_follows_the_batch

LIMIT = 2 * 2**30


class FrozenPrefix:
    """Replaces the forward passes of frozen layers during training.

    Each row, or each example of a packed row, is computed separately and without padding, whether
    or not its states are cached. Otherwise results would depend on the cache, and a resumed
    training would differ in the last bits.

    The first row tests the assumptions on the model: computed twice, the states must be equal
    (otherwise there is dropout), and so must the model's output with and without the layers
    (otherwise they pass on several tensors). If a test fails, every pass runs normally.

    Args:
        model: a causal transformers model.
        layers: its frozen layers, from the first to the last one below any trained parameter.
        limit: maximum bytes of cached states in host memory.
    """

    def __init__(self, model: Any, layers: Sequence[Any], limit: int = LIMIT) -> None:
        self._model, self._layers, self._limit = model, layers, limit
        self._kept: dict[bytes, Tensor] = {}
        self._holds: bool | None = None
        self._is_asked = False
        self._given: Tensor | tuple[Tensor | None, ...] | None = None
        self._num_outputs: int | None = None  # if layers return a tuple
        self.kept_bytes = 0

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Use cached states in training passes within the block; restore the model afterwards."""
        for layer in self._layers:
            layer.forward = self._replace(layer.forward, is_last=layer is self._layers[-1])
        handles = (
            self._model.register_forward_pre_hook(self._before, with_kwargs=True),
            self._model.register_forward_hook(self._after, always_call=True),
        )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for layer in self._layers:
                del layer.forward
            self._kept.clear()

    def _replace(self, forward: Callable[..., Any], *, is_last: bool) -> Callable[..., Any]:
        """A layer's forward that returns the cached states if available."""

        def replaced(*arguments: Any, **options: Any) -> Any:
            if self._given is not None:
                return self._given
            output = forward(*arguments, **options)
            if is_last and self._is_asked:
                raise _Reached(output)
            return output

        return replaced

    def _before(self, model: Any, _arguments: Any, inputs: dict[str, Any]) -> None:
        """Before a pass: get the states of its rows."""
        if not model.training:
            return
        is_packed = "position_ids" in inputs
        rows = _packed(**inputs) if is_packed else _rows(**inputs)
        if self._holds is None:
            self._holds = self._try_out(rows[0])
        if self._holds:
            states = [self._states(row) for row in rows]
            self._give(torch.cat(states)[None] if is_packed else pad_sequence(states, True))

    def _after(self, *_: Any) -> None:
        self._given = None

    def _give(self, states_BTD: Tensor) -> None:
        rest = (None,) * ((self._num_outputs or 1) - 1)
        self._given = (states_BTD, *rest) if self._num_outputs else states_BTD

    def _states(self, ids_T: Tensor) -> Tensor:
        """``[T, D]``: cached, or computed and cached if there is room."""
        key = ids_T.cpu().numpy().tobytes()
        if key in self._kept:
            return self._kept[key].to(ids_T.device)
        states_TD = self._compute(ids_T)[0]
        if self.kept_bytes + states_TD.nbytes <= self._limit:
            self._kept[key] = states_TD.cpu()
            self.kept_bytes += states_TD.nbytes
        return states_TD

    @torch.no_grad()
    def _compute(self, ids_T: Tensor) -> Tensor:
        """``[1, T, D]``: the output of the last frozen layer for a single row."""
        self._is_asked = True
        try:
            self._model.base_model(input_ids=ids_T[None], use_cache=False)
        except _Reached as reached:
            is_tuple = isinstance(reached.output, tuple)
            self._num_outputs = len(reached.output) if is_tuple else None
            states: Tensor = reached.output[0] if is_tuple else reached.output
            return states
        finally:
            self._is_asked = False
        raise AssertionError("the model does not use its own layers")

    def _try_out(self, ids_T: Tensor) -> bool:
        """Whether skipping the layers gives identical outputs; the random state is restored."""
        is_sharded = any(isinstance(p, DTensor) for p in self._layers[0].parameters())
        if is_sharded or rope_follows_the_batch(self._model.config):
            return False
        with torch.random.fork_rng([ids_T.device] if ids_T.is_cuda else []):
            states_1TD = self._compute(ids_T)
            if not torch.equal(self._compute(ids_T), states_1TD):
                return False
            expected_1TD = self._output(ids_T)
            self._give(states_1TD)
            found_1TD = self._output(ids_T)
            self._given = None
            return torch.equal(found_1TD, expected_1TD)

    @torch.no_grad()
    def _output(self, ids_T: Tensor) -> Tensor:
        """``[1, T, D]``: the model's output before its output layer."""
        torch.manual_seed(0)  # the trained layers may have dropout
        output = self._model.base_model(input_ids=ids_T[None], use_cache=False)
        states: Tensor = output.last_hidden_state
        return states


class _Reached(Exception):  # noqa: N818
    """Stops a pass once the requested states are computed."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


def _rows(input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> list[Tensor]:
    """The tokens of each row, without padding on the right."""
    if attention_mask is None:
        return list(input_ids)
    lengths = attention_mask.sum(1).tolist()
    return [row[:length] for row, length in zip(input_ids, lengths, strict=True)]


def _packed(input_ids: Tensor, position_ids: Tensor, **_: Any) -> list[Tensor]:
    """The tokens of each example of a packed row; positions restart at zero."""
    starts = (position_ids[0] == 0).nonzero()[1:, 0].tolist()
    return list(torch.tensor_split(input_ids[0], starts))
