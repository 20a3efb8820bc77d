"""Generation with the model's own cache or state, copied wherever prompts fork.

A recurrent state would absorb padding like text, and opaque states of unequal length cannot be
merged. So prompts are read and answered together only if they have equal length and leave their
shared prefix at the same place.
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
    """Rows of equal length that a model continues with its own state.

    Args:
        reader: the model.
        read: the rows as the model has read them.
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
    """Rows that have one state each; the model continues them one after the other."""

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
    """The states at the nodes on the path to a fork, kept while the next path passes through them.

    Args:
        reader: the model. It must not change while this object is used.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._held: list[tuple[Tokens, Read]] = []

    def reach(self, path: Sequence[Node]) -> Read | None:
        """The state after these nodes, which callers must copy; None if the path is empty."""
        pairs = zip(self._held, path, strict=False)
        common = next((i for i, (held, node) in enumerate(pairs) if held[0] != node.tokens), None)
        del self._held[len(path) if common is None else common :]
        for node in path[len(self._held) :]:
            before = self._held[-1][1] if self._held else None
            self._held.append((node.tokens, _read_after(self._reader, before, [node.tokens])))
        return self._held[-1][1] if path else None


class OwnState(Reuse):
    """Shared prefixes are read once, and their state is continued for each prompt."""

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
        """Read prompts, with as few passes as their lengths and forks allow."""
        for start, members, before in self._forks(prompts, batch, pass_cost):
            suffixes = [prompts[index][start:] for index in members]
            for together in of_one_length(suffixes, range(len(members)), self._tokens):
                read = _read_after(self._model, before, [suffixes[place] for place in together])
                yield _OwnRows(self._model, read, [members[place] for place in together])

    def _forks(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[tuple[int, list[int], Read | None]]:
        """For each fork: the first token after it, the prompts there, and the state before it."""
        asked = [tuple(prompts[index]) for index in batch]
        for path, start, members in forks(asked, pass_cost * self._passes(asked)):
            yield start, [batch[member] for member in members], self._trunk.reach(path)

    def _passes(self, prompts: Sequence[Tokens]) -> int:
        """The largest number of passes for the tokens after the prefix that all prompts share."""
        if not prompts:
            return 0
        shared = common_length(min(prompts), max(prompts))
        return self._model.passes(max(map(len, prompts)) - shared)


class OwnStateAtPositions(OwnState):
    """`OwnState` for models that need the position of each new token."""

    _reader: ClassVar[type[Reader]] = ReaderAtPositions


class OwnStateByToken(OwnState):
    """`OwnState` for models that continue a state by only one token.

    Each token after a shared prefix takes one pass, so only long prefixes are shared.
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
    """Read texts of equal length after a state of one row; that state stays usable."""
    ids_BT = torch.tensor(list(map(list, texts)), device=reader.device)
    if before is None:
        return reader.begin(ids_BT)
    return reader.go_on(before.copied().selected([0] * len(texts)), ids_BT)
