"""Scoring with an encoder-decoder model (T5).

Each context is encoded once. The decoder's first step is also computed once, because every
continuation begins with it; it fills the cross-attention cache. The other tokens of all
continuations follow in one more pass. Continuations that differ only in the last token share one
row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from transformers import EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from luthier.inference.engine import ignore_progress
from luthier.inference.local.branching_cache import begin, branch, select
from luthier.inference.local.budget import rectangles
from luthier.inference.local.encoder import encode
from luthier.inference.local.padding import MAX_PADDING, pad
from luthier.inference.local.scorer import Scorer, Tally, Target, score_targets
from luthier.inference.tokenise import TokenRequest
from luthier.models.forward import decoder_start, without_cache

Key = TypeVar("Key", bound=Hashable)
_ScoringStrategy = Callable[[Sequence[TokenRequest], Tally], None]


class _Row(NamedTuple):
    """A row: its tokens, the row that it continues in the previous pass, and its requests."""

    ids: tuple[int, ...]
    before: int
    requests: list[int]


class _Begun(NamedTuple):
    """Contexts after encoding and the decoder's first step."""

    states_BTD: Tensor
    mask_BT: Tensor
    cache: Any


class EncoderDecoderScorer(Scorer):
    """Scores requests; see `Scorer`. A soft prompt precedes the encoder's input."""

    def _score(self, requests: Sequence[TokenRequest], tally: Tally) -> None:
        self.way(requests, tally)

    @cached_property
    def way(self) -> _ScoringStrategy:
        """The fastest scoring strategy with the same results as whole texts.

        Raises:
            DataError: no strategy has them, see `Trial`.
        """

        def agrees(way: _ScoringStrategy) -> bool:
            requests = self._trial.requests()
            tally = Tally(requests, ignore_progress)
            way(requests, tally)
            return self._trial.agrees_with_scores(tally.scores())

        return self._trial.choose((self._sharing, self._apart), agrees)

    def _apart(self, requests: Sequence[TokenRequest], tally: Tally) -> None:
        """Score each request in a row of its own; requests of equal lengths share a pass."""
        alike = _grouped(
            ((len(r.context), len(r.continuation)), index) for index, r in enumerate(requests)
        )
        start = decoder_start(self._model)
        for (asked, said), members in alike.items():
            passes = self._budget.passes(
                members,
                partial(self._score_whole, requests=requests, start=start),
                length=partial(_constant, asked + said),
                cut=partial(rectangles, max_padding=0.0),
            )
            for _, (targets, scores) in passes:
                tally.add(targets, *scores)

    def _score_whole(
        self, members: list[int], requests: Sequence[TokenRequest], start: int
    ) -> tuple[list[Target], tuple[list[float], list[bool]]]:
        """Score requests of equal lengths in one pass."""
        asked = [requests[index].context for index in members]
        said = [(start, *requests[index].continuation[:-1]) for index in members]
        model = self._loaded.model
        inputs = {
            "input_ids": torch.tensor(asked, device=self._device),
            "decoder_input_ids": torch.tensor(said, device=self._device),
            **without_cache(model),
        }
        targets = [
            Target(index, token, row, column)
            for row, index in enumerate(members)
            for column, token in enumerate(requests[index].continuation)
        ]
        return targets, score_targets(model, inputs, targets, len(said[0]))

    def _sharing(self, requests: Sequence[TokenRequest], tally: Tally) -> None:
        """Encode each context once, and continue the decoder's first step."""
        asked_by_context = _grouped((r.context, index) for index, r in enumerate(requests))
        contexts = [_Row(ids, 0, asked) for ids, asked in asked_by_context.items()]
        passes = partial(self._budget.passes, length=lambda row: len(row.ids))
        cut = partial(rectangles, max_padding=MAX_PADDING)
        begin = partial(self._begin, requests=requests, tally=tally)
        for batch, begun in passes(contexts, begin, cut=cut):
            rows = [
                _Row(ids, row, asked)
                for row, context in enumerate(batch)
                for ids, asked in _grouped(
                    (requests[index].continuation[:-1], index) for index in context.requests
                ).items()
                if ids
            ]
            go_on = partial(self._go_on, begun=begun, requests=requests, tally=tally)
            for _ in passes(rows, go_on, cut=partial(cut, extra=begun.mask_BT.shape[1])):
                pass

    def _begin(self, batch: list[_Row], requests: Sequence[TokenRequest], tally: Tally) -> _Begun:
        """Encode contexts, and score the first token of each continuation."""
        encoded, mask_BT = encode(self._model, self._soft_prompt, [row.ids for row in batch])
        prefix, same_B = begin(), torch.zeros_like(mask_BT[:, 0])
        self._soft_prompt.fill_layers(prefix)
        cache = EncoderDecoderCache(branch(prefix, same_B), begin())
        begun = _Begun(encoded.last_hidden_state, mask_BT, cache)
        start = decoder_start(self._model)
        input_B1 = torch.full((len(batch), 1), start, device=self._device)
        targets = [
            Target(index, requests[index].continuation[0], row, 0)
            for row, context in enumerate(batch)
            for index in context.requests
        ]
        tally.add(targets, *score_targets(self._model, _inputs(begun, input_B1), targets, 1))
        return begun

    def _go_on(
        self, batch: list[_Row], begun: _Begun, requests: Sequence[TokenRequest], tally: Tally
    ) -> None:
        """Score all other tokens of some continuations."""
        rows_B = torch.tensor([row.before for row in batch], device=self._device)
        cache = EncoderDecoderCache(
            branch(begun.cache.self_attention_cache, rows_B),
            select(begun.cache.cross_attention_cache, rows_B),
        )
        ids_BT, _ = pad([row.ids for row in batch], self._device, "right")
        own = _Begun(begun.states_BTD[rows_B], begun.mask_BT[rows_B], cache)
        targets = [
            Target(index, token, row, column)
            for row, one in enumerate(batch)
            for index in one.requests
            for column, token in enumerate(requests[index].continuation[1:])
        ]
        width = ids_BT.shape[1]
        tally.add(targets, *score_targets(self._model, _inputs(own, ids_BT), targets, width))


def _inputs(begun: _Begun, ids_BT: Tensor) -> dict[str, Any]:
    return {
        "encoder_outputs": BaseModelOutput(last_hidden_state=begun.states_BTD),
        "attention_mask": begun.mask_BT,
        "decoder_input_ids": ids_BT,
        "past_key_values": begun.cache,
        "use_cache": True,
    }


def _constant(value: int, _item: object) -> int:
    return value


def _grouped(pairs: Iterable[tuple[Key, int]]) -> dict[Key, list[int]]:
    """The numbers of each key."""
    groups: dict[Key, list[int]] = defaultdict(list)
    for key, number in pairs:
        groups[key].append(number)
    return groups
