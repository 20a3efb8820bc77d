"""Generation with an encoder-decoder model (T5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from luthier.data.batches import micro_batches
from luthier.inference.local.cache import preallocated_cache, repeat_cache
from luthier.inference.local.decoding import Rows
from luthier.inference.local.encoder import encode
from luthier.inference.local.generator import Generator
from luthier.inference.local.padding import MAX_PADDING
from luthier.inference.local.reuse.base import Reuse, of_one_length
from luthier.inference.local.soft_prompt import Conditioned, SoftPrompt
from luthier.models.forward import decoder_start, logits_at, outputs_at_indices, without_cache


class _DecoderRows(Rows):
    """Rows that a decoder continues, each with the encoder's output for its prompt."""

    def __init__(
        self,
        model: Any,
        soft_prompt: SoftPrompt,
        encoded_BTD: Tensor,
        mask_BT: Tensor,
        prompts: Sequence[int],
    ) -> None:
        from transformers import EncoderDecoderCache

        self._model = model
        self._encoded_BTD, self._mask_BT = encoded_BTD, mask_BT
        prefix = preallocated_cache()
        soft_prompt.fill_layers(prefix)
        self._cache = EncoderDecoderCache(repeat_cache(prefix, len(prompts)), preallocated_cache())
        super().__init__(self.step([decoder_start(model)] * len(prompts)), prompts)

    def _select(self, rows: Sequence[int]) -> None:
        rows_B = torch.tensor(rows, device=self._mask_BT.device)
        self._encoded_BTD, self._mask_BT = self._encoded_BTD[rows_B], self._mask_BT[rows_B]
        for cache in (self._cache.self_attention_cache, self._cache.cross_attention_cache):
            cache.batch_select_indices(rows_B)

    def step(self, tokens: Sequence[int]) -> Tensor:
        """See `Rows.step`."""
        from transformers.modeling_outputs import BaseModelOutput

        input_B1 = torch.tensor(tokens, device=self._mask_BT.device)[:, None]
        inputs = {
            "encoder_outputs": BaseModelOutput(last_hidden_state=self._encoded_BTD),
            "attention_mask": self._mask_BT,
            "decoder_input_ids": input_B1,
            "past_key_values": self._cache,
            "use_cache": True,
        }
        return logits_at(self._model, inputs, torch.ones_like(input_B1, dtype=torch.bool))


class _AfreshDecoderRows(Rows):
    """Prompts of equal length and the answers so far, which are read again for each token."""

    def __init__(self, model: Any, asked_BT: Tensor, prompts: Sequence[int]) -> None:
        self._model, self._asked_BT = model, asked_BT
        self._said_BT = asked_BT.new_empty((len(prompts), 0))
        super().__init__(self.step([decoder_start(model)] * len(prompts)), prompts)

    def _select(self, rows: Sequence[int]) -> None:
        rows_B = torch.tensor(rows, device=self._asked_BT.device)
        self._asked_BT, self._said_BT = self._asked_BT[rows_B], self._said_BT[rows_B]

    def step(self, tokens: Sequence[int]) -> Tensor:
        """See `Rows.step`."""
        new_B1 = torch.tensor(tokens, device=self._asked_BT.device)[:, None]
        self._said_BT = torch.cat([self._said_BT, new_B1], dim=1)
        inputs = {"input_ids": self._asked_BT, "decoder_input_ids": self._said_BT}
        rows_B = torch.arange(len(tokens), device=new_B1.device)
        output = outputs_at_indices(
            self._model,
            inputs | without_cache(self._model),
            rows_B,
            torch.full_like(rows_B, -1),
        )
        logits_BV: Tensor = output.logits
        return logits_BV


class EncodedOnce(Reuse):
    """Reuse of the encoder's output and of the decoder's KV cache.

    Prompts are encoded in groups of similar length, because padding costs as much as text. Their
    answers are generated together.

    Args:
        conditioned: the model.
        tokens: the limit of an encoder pass.
    """

    description: ClassVar[str] = "the encoding and one cache, prompts of any length together"

    def __init__(self, conditioned: Conditioned, tokens: int) -> None:
        _, self._model, self._soft_prompt = conditioned
        self._tokens = tokens

    def start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[Rows]:
        """See `Reuse.start`."""
        del pass_cost
        lengths = [len(prompts[index]) for index in batch]
        cuts = micro_batches(lengths, tokens=self._tokens, max_padding=MAX_PADDING)
        yield self._read(prompts, [[batch[place] for place in cut] for cut in cuts])

    def _read(self, prompts: Sequence[Sequence[int]], groups: Sequence[Sequence[int]]) -> Rows:
        """Encode groups of prompts one after the other into rows that are answered together."""
        encoded = [
            encode(self._model, self._soft_prompt, [prompts[index] for index in group])
            for group in groups
        ]
        width = max(mask_BT.shape[1] for _, mask_BT in encoded)
        return _DecoderRows(
            self._model,
            self._soft_prompt,
            torch.cat([_widened(output.last_hidden_state, width) for output, _ in encoded]),
            torch.cat([_widened(mask_BT[..., None], width)[..., 0] for _, mask_BT in encoded]),
            [index for group in groups for index in group],
        )


class EncodedByLength(EncodedOnce):
    """`EncodedOnce` for models that attend to padding: batches have prompts of equal length."""

    description: ClassVar[str] = "the encoding and one cache, prompts of one length together"

    def start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[Rows]:
        """See `Reuse.start`."""
        del pass_cost
        for together in of_one_length(prompts, batch):
            yield self._read(prompts, [together])


class EncodedAfresh(Reuse):
    """Generation without reuse: each token takes a pass over the whole prompt and answer."""

    description: ClassVar[str] = "nothing: every token is made from the whole text"

    def __init__(self, conditioned: Conditioned) -> None:
        self._model = conditioned.whole

    def start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], pass_cost: float
    ) -> Iterator[Rows]:
        """See `Reuse.start`."""
        del pass_cost
        for together in of_one_length(prompts, batch):
            asked_BT = torch.tensor([prompts[i] for i in together], device=self._model.device)
            yield _AfreshDecoderRows(self._model, asked_BT, together)


class EncoderDecoderGenerator(Generator):
    """Generates token ids; see `Generator`. A soft prompt precedes the encoder's input."""

    def _start(
        self, prompts: Sequence[Sequence[int]], batch: Sequence[int], new_tokens: int
    ) -> Iterator[Rows]:
        """See `Generator._start`."""
        del new_tokens
        return self.way.start(prompts, batch, 0)

    @cached_property
    def way(self) -> Reuse:
        """The fastest kind of reuse with the same results as whole texts.

        Raises:
            DataError: no kind has them, see `Trial`.
        """
        ways: tuple[Reuse, ...] = (
            EncodedOnce(self._conditioned, self._batch_tokens),
            EncodedByLength(self._conditioned, self._batch_tokens),
            EncodedAfresh(self._conditioned),
        )

        def agrees(way: Reuse) -> bool:
            return self._trial.agrees_step_by_step(partial(way.start, pass_cost=0))

        return self._trial.choose(ways, agrees)


def _widened(states_BTD: Tensor, width: int) -> Tensor:
    """States padded with zeros on the right to ``width`` positions."""
    return torch.nn.functional.pad(states_BTD, (0, 0, 0, width - states_BTD.shape[1]))
