"""Generation with a causal model.

What prompts begin with alike (a soft prompt, a system message, the shots, a passage) is computed
once. The rest of the prompts is computed in small groups of one length, because padding costs as
much as text; then the groups are merged, because making one token at a time reads all weights, and
should serve as many rows as fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad as pad_tensor

from luthier.data.batches import micro_batches
from luthier.inference.budget import pass_cost_in_tokens
from luthier.inference.cache import merge_caches, repeat_cache
from luthier.inference.decoding import Rows
from luthier.inference.generator import Generator
from luthier.inference.padding import MAX_PADDING, pad
from luthier.inference.radix_tree import Node, merge_cheap_prefixes, radix_tree
from luthier.inference.trunk import Trunk
from luthier.models.forward import logits_at
from luthier.models.load import LoadedModel

# Tokens of prompts computed together: enough to keep the arithmetic units busy.
_PREFILL_TOKENS = 2048


class _State(NamedTuple):
    """What a causal model has read.

    Attributes:
        cache: keys and values of all tokens so far.
        mask_BT: which of them are real.
        position_B: the position of the next token.
    """

    cache: Any
    mask_BT: Tensor
    position_B: Tensor


class CausalRows(Rows):
    """Rows that a causal model continues."""

    def __init__(
        self, model: Any, state: _State, logits_BV: Tensor, prompts: Sequence[int]
    ) -> None:
        super().__init__(logits_BV, prompts)
        self._model, self._state = model, state

    def _select(self, rows: Sequence[int]) -> None:
        cache, mask_BT, position_B = self._state
        rows_B = torch.tensor(rows, device=mask_BT.device)
        cache.batch_select_indices(rows_B)
        self._state = _State(cache, mask_BT[rows_B], position_B[rows_B])

    def step(self, tokens: Sequence[int]) -> Tensor:
        """See `Rows.step`."""
        cache, mask_BT, position_B = self._state
        mask_BT = pad_tensor(mask_BT, (0, 1), value=True)
        input_B1 = torch.tensor(tokens, device=mask_BT.device)[:, None]
        self._state = _State(cache, mask_BT, position_B + 1)
        return _last_logits(self._model, cache, input_B1, mask_BT, position_B[:, None])


class _Group(NamedTuple):
    """Prompts that were computed together."""

    state: _State
    logits_BV: Tensor
    prompts: list[int]


class DecoderOnlyGenerator(Generator):
    """Generates token ids; see `Generator`."""

    def __init__(self, loaded: LoadedModel, batch_tokens: int) -> None:
        super().__init__(loaded, batch_tokens)
        self._trunk = Trunk(self._model, self._soft_prompt)

    def _start(self, prompts: Sequence[Sequence[int]], batch: Sequence[int]) -> CausalRows:
        """See `Generator._start`."""
        groups: list[_Group] = []
        for path, start, members in self._forks([tuple(prompts[index]) for index in batch]):
            cache = self._trunk.reach(path)
            suffixes = [prompts[batch[member]][start:] for member in members]
            lengths = list(map(len, suffixes))
            cuts = micro_batches(lengths, tokens=_PREFILL_TOKENS, max_padding=MAX_PADDING)
            for cut in cuts:
                state, logits_BV = self._compute(cache, [suffixes[i] for i in cut])
                groups.append(_Group(state, logits_BV, [batch[members[i]] for i in cut]))
        return self._merged(groups)

    def _forks(
        self, prompts: Sequence[tuple[int, ...]]
    ) -> Iterator[tuple[tuple[Node, ...], int, list[int]]]:
        """Where prompts leave what they share with others, as far as sharing pays.

        Yields:
            The nodes of what is shared, their tokens, and the prompts that go on alone from there.
        """
        root = radix_tree(prompts)
        merge_cheap_prefixes(root, pass_cost_in_tokens(self._device))
        for node, path in (root, ()), *root.ancestry():
            # A prompt has at least one token of its own: its last one is read for its logits.
            members = [index for child in node.children for index in child.ends]
            if members:
                yield path, node.start + len(node.tokens), members

    def _compute(self, cache: Any, suffixes: Sequence[Sequence[int]]) -> tuple[_State, Tensor]:
        """Read what stands after a cache of one row; the logits of the next tokens."""
        start = cache.get_seq_length()
        cache = repeat_cache(cache, len(suffixes))
        input_BT, real_BT = pad(suffixes, self._device, "left")
        mask_BT = pad_tensor(real_BT, (start, 0), value=True)
        position_BT = (mask_BT.long().cumsum(1) - 1).clamp(min=0)[:, start:]
        logits_BV = _last_logits(self._model, cache, input_BT, mask_BT, position_BT)
        return _State(cache, mask_BT, position_BT[:, -1] + 1), logits_BV

    def _merged(self, groups: Sequence[_Group]) -> CausalRows:
        """The groups as one batch, the shorter ones padded on the left."""
        states = [group.state for group in groups]
        width = max(state.mask_BT.shape[1] for state in states)
        masks = [
            pad_tensor(state.mask_BT, (width - state.mask_BT.shape[1], 0), value=False)
            for state in states
        ]
        merged = _State(
            cache=merge_caches([state.cache for state in states]),
            mask_BT=torch.cat(masks),
            position_B=torch.cat([state.position_B for state in states]),
        )
        logits_BV = torch.cat([group.logits_BV for group in groups])
        prompts = [index for group in groups for index in group.prompts]
        return CausalRows(self._model, merged, logits_BV, prompts)


def _last_logits(
    model: Any, cache: Any, input_BT: Tensor, mask_BT: Tensor, position_BT: Tensor
) -> Tensor:
    """Continue a cache; the logits after the last token of each row, ``[B, vocabulary]``."""
    keep_BT = torch.zeros_like(input_BT, dtype=torch.bool)
    keep_BT[:, -1] = True
    inputs = {
        "input_ids": input_BT,
        "attention_mask": mask_BT.long(),
        "position_ids": position_BT,
        "past_key_values": cache,
        "use_cache": True,
    }
    return logits_at(model, inputs, keep_BT)
