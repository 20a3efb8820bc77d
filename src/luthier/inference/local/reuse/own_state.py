"""The model's own cache or state is copied wherever prompts fork.

A recurrent state would take in padding like text, and states of unequal length cannot be merged
without knowing what they hold. So prompts are read and answered together where they leave what they
share at one place and are of one length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from luthier.inference.local.decoding import Rows
from luthier.inference.local.radix_tree import Node, Tokens, common_length
from luthier.inference.local.reuse.base import PREFILL_TOKENS, Reuse, forks, of_one_length
from luthier.inference.local.reuse.state import (
    Read,
    Reader,
    ReaderAtPositions,
    ReaderByToken,
)
from luthier.inference.local.soft_prompt import Conditioned


class _OwnRows(Rows):
    """Rows of one length that a model continues with its own state.

    Args:
        reader: the model.
        read: what it has read.
        prompts: see `Rows`.
    """

    def __init__(self, reader: Reader, read: Read, prompts: Sequence[int]) -> None:
        super().__init__(read.logits_BV, prompts)
        self._reader, self._read = reader, read

    def _select(self, rows: Sequence[int]) -> None:
        self._read = self._read.selected(rows)

    def step(self, tokens: Sequence[int]) -> Tensor:
        """See `Rows.step`."""
        ids_B1 = torch.tensor(tokens, device=self._reader.device)[:, None]
        self._read = self._reader.go_on(self._read, ids_B1)
        return self._read.logits_BV

    def copied(self) -> _OwnRows:
        """The same rows with a state of their own."""
        return _OwnRows(self._reader, self._read.copied(), self.prompts)


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


class _Trunk:
    """The states at the nodes on the way to a fork; they stay as long as what is asked needs them.

    Args:
        reader: the model. It must not change while this is used.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._held: list[tuple[Tokens, Read]] = []

    def reach(self, path: Sequence[Node]) -> Read | None:
        """What the model carries on after these nodes, to be copied; None: nothing is read yet."""
        pairs = zip(self._held, path, strict=False)
        common = next((i for i, (held, node) in enumerate(pairs) if held[0] != node.tokens), None)
        del self._held[len(path) if common is None else common :]
        for node in path[len(self._held) :]:
            before = self._held[-1][1] if self._held else None
            self._held.append((node.tokens, _read_after(self._reader, before, [node.tokens])))
        return self._held[-1][1] if path else None


class OwnState(Reuse):
    """What prompts begin with alike is read once, and its state continued for each."""

    description: ClassVar[str] = (
        "shared beginnings, the model's own cache or state, prompts of one length together"
    )
    _reader: ClassVar[type[Reader]] = Reader
    _tokens: ClassVar[int] = PREFILL_TOKENS

    def __init__(self, conditioned: Conditioned) -> None:
        self._model = self._reader(conditioned)
        self._trunk = _Trunk(self._model)

    def start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[Rows]:
        """See `Reuse.start`."""
        yield from self._read_all(prompts, batch, pass_cost)

    def _read_all(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[_OwnRows]:
        """Read prompts, those that can be read together in one pass."""
        for start, members, before in self._forks(prompts, batch, pass_cost):
            suffixes = [prompts[index][start:] for index in members]
            for together in of_one_length(suffixes, range(len(members)), self._tokens):
                read = _read_after(self._model, before, [suffixes[place] for place in together])
                yield _OwnRows(self._model, read, [members[place] for place in together])

    def _forks(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[tuple[int, list[int], Read | None]]:
        """Where prompts of a batch go on alone: from which token, which ones, and after what."""
        asked = [tuple(prompts[index]) for index in batch]
        for path, start, members in forks(asked, pass_cost * self._passes(asked)):
            yield start, [batch[member] for member in members], self._trunk.reach(path)

    def _passes(self, prompts: Sequence[Tokens]) -> int:
        """How many passes it takes to read on after what all of them share, at most."""
        if not prompts:
            return 0
        shared = common_length(min(prompts), max(prompts))
        return self._model.passes(max(map(len, prompts)) - shared)


class OwnStateAtPositions(OwnState):
    """The same with the position of each new token."""

    _reader: ClassVar[type[Reader]] = ReaderAtPositions


class OwnStateByToken(OwnState):
    """The same where the model continues its state by one token only.

    What follows a shared beginning takes a pass a token, so that only long beginnings are shared.
    """

    _reader: ClassVar[type[Reader]] = ReaderByToken


class OwnStateByRow(OwnState):
    """A state for each prompt, for models whose state cannot be cut into rows (RWKV, MiniMax)."""

    description: ClassVar[str] = (
        "shared beginnings, the model's own cache or state, prompts one by one"
    )
    _tokens: ClassVar[int] = 1

    def start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[Rows]:
        """See `Reuse.start`."""
        rows = list(self._read_all(prompts, batch, pass_cost))
        if rows:
            yield _SingleRows(rows)


def _read_after(reader: Reader, before: Read | None, texts: Sequence[Sequence[int]]) -> Read:
    """Read texts of one length, each after the only row of what was read before, which stays."""
    ids_BT = torch.tensor(list(map(list, texts)), device=reader.device)
    if before is None:
        return reader.begin(ids_BT)
    return reader.go_on(before.copied().selected([0] * len(texts)), ids_BT)
