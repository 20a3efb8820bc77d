"""Batched generation in which shared prefixes are computed once.

A shared prefix (a soft prompt, a system message, the shots, a passage) is read once. The suffixes
of the prompts are read in small groups of similar length, because padding costs as much as text.
Then the groups are merged, because each decoding step reads all weights and should serve as many
rows as fit.

Padding is on the right while prompts are read and on the left while answers are generated, never
within a text. So two tokens are as far apart in the cache as in the text. A sliding window or a
bias that counts places (ALiBi) then works as it does without padding, for texts of any length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from luthier.data.batches import micro_batches
from luthier.inference.local.cache import Part, merge_caches, repeat_cache
from luthier.inference.local.decoding import Rows
from luthier.inference.local.padding import MAX_PADDING, pad
from luthier.inference.local.prefix_cache import PrefixCache
from luthier.inference.local.reuse.base import PREFILL_TOKENS, Reuse, forks
from luthier.inference.local.soft_prompt import Conditioned
from luthier.models.forward import logits_at


class _CausalRows(Rows):
    """Rows in one KV cache, padded on the left.

    Args:
        model: the model that continues them.
        cache: keys and values of all tokens so far.
        length_B: the number of tokens of each row in the cache.
        logits_BV, prompts: see `Rows`.
    """

    def __init__(
        self, model: Any, cache: Any, length_B: Tensor, logits_BV: Tensor, prompts: Sequence[int]
    ) -> None:
        super().__init__(logits_BV, prompts)
        self._model, self._cache, self._length_B = model, cache, length_B

    def _select(self, rows: Sequence[int]) -> None:
        rows_B = torch.tensor(rows, device=self._length_B.device)
        self._cache.batch_select_indices(rows_B)
        self._length_B = self._length_B[rows_B]

    def step(self, tokens: Sequence[int]) -> Tensor:
        """See `Rows.step`."""
        device = self._length_B.device
        input_B1 = torch.tensor(tokens, device=device)[:, None]
        width = self._cache.get_seq_length() + 1
        left_T = torch.arange(width, 0, -1, device=device)
        inputs = {
            "input_ids": input_B1,
            "attention_mask": (left_T <= self._length_B[:, None] + 1).long(),
            "position_ids": self._length_B[:, None],
            "past_key_values": self._cache,
            "use_cache": True,
        }
        self._length_B = self._length_B + 1
        return logits_at(self._model, inputs, torch.ones_like(input_B1, dtype=torch.bool))


class _Group(NamedTuple):
    """Prompts that were read together, padded on the right, the longest first.

    Attributes:
        cache: keys and values, those of padding included.
        lengths: tokens of each row, those of the shared prefix included.
        logits_BV: the logits after the last token of each row.
        prompts: the index of each row's prompt.
    """

    cache: Any
    lengths: list[int]
    logits_BV: Tensor
    prompts: list[int]


class SharedPrefixes(Reuse):
    """Shared prefixes, and one KV cache for rows of any length.

    Args:
        conditioned: the model. It must not change while this object is used.
    """

    description: ClassVar[str] = "shared beginnings, one cache for prompts of any length"
    _max_padding: ClassVar[float] = MAX_PADDING

    def __init__(self, conditioned: Conditioned) -> None:
        _, self._model, soft_prompt = conditioned
        self._trunk = PrefixCache(self._model, soft_prompt)

    def start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[Rows]:
        """See `Reuse.start`."""
        groups: list[_Group] = []
        for path, start, members in forks([tuple(prompts[i]) for i in batch], pass_cost):
            cache = self._trunk.reach(path)
            suffixes = [prompts[batch[member]][start:] for member in members]
            lengths = list(map(len, suffixes))
            cuts = micro_batches(lengths, tokens=PREFILL_TOKENS, max_padding=self._max_padding)
            for cut in cuts:
                named = [batch[members[i]] for i in cut]
                groups.append(self._read(cache, [suffixes[i] for i in cut], named))
        for together in self._answered_together(groups):
            yield self._merged(together)

    def _answered_together(self, groups: list[_Group]) -> Iterable[list[_Group]]:
        """The batches of groups that are answered together."""
        return [groups] if groups else []

    def _read(self, cache: Any, suffixes: Sequence[Sequence[int]], prompts: list[int]) -> _Group:
        """Read suffixes after a cache of one row; causal attention hides the padding."""
        start = cache.get_seq_length()
        cache = repeat_cache(cache, len(suffixes))
        input_BT, real_BT = pad(suffixes, self._model.device, "right")
        width = input_BT.shape[1]
        last_BT = real_BT & ~torch.nn.functional.pad(real_BT[:, 1:], (0, 1))
        position_T = torch.arange(start, start + width, device=input_BT.device)
        inputs = {
            "input_ids": input_BT,
            "attention_mask": torch.ones_like(input_BT[:, :1]).expand(-1, start + width),
            "position_ids": position_T.expand_as(input_BT),
            "past_key_values": cache,
            "use_cache": True,
        }
        logits_BV = logits_at(self._model, inputs, last_BT)
        return _Group(cache, [start + len(each) for each in suffixes], logits_BV, prompts)

    def _merged(self, groups: Sequence[_Group]) -> Rows:
        """The groups as one batch."""
        parts = [part for group in groups for part in _parts(group)]
        lengths = [length for group in groups for length in group.lengths]
        return _CausalRows(
            self._model,
            merge_caches(parts),
            torch.tensor(lengths, device=self._model.device),
            torch.cat([group.logits_BV for group in groups]),
            [index for group in groups for index in group.prompts],
        )


class SharedPrefixesByLength(SharedPrefixes):
    """Shared prefixes, and one KV cache per prompt length, so that there is no padding."""

    description: ClassVar[str] = "shared beginnings, one cache for prompts of one length"
    _max_padding: ClassVar[float] = 0.0

    def _answered_together(self, groups: list[_Group]) -> Iterable[list[_Group]]:
        alike: dict[int, list[_Group]] = defaultdict(list)
        for group in groups:
            alike[group.lengths[0]].append(group)
        return alike.values()


def _parts(group: _Group) -> Iterator[Part]:
    """Runs of rows of equal length."""
    row = 0
    for length, run in groupby(group.lengths):
        count = len(list(run))
        yield Part(group.cache, slice(row, row + count), length)
        row += count
