"""The engine that runs a model in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from luthier.data.batches import micro_batches
from luthier.inference.decoder_only import DecoderOnlyGenerator
from luthier.inference.encoder_decoder import EncoderDecoderGenerator
from luthier.inference.engine import (
    Advance,
    Engine,
    Generation,
    Score,
    ScoreRequest,
    TextLoss,
    ignore_progress,
)
from luthier.inference.padding import MAX_PADDING, pad
from luthier.inference.scorer import Scorer
from luthier.models.forward import logits_at
from luthier.models.load import LoadedModel

# Logits of one batch of losses: 1,024 positions × 50,000 words × 4 bytes are 200 MB.
_LOSS_BATCH_TOKENS = 1024


class LocalEngine(Engine):
    """Greedy generation and scoring with a model in memory.

    Args:
        loaded: the model; adapters and soft prompts around it are used.
        batch_tokens: the key/value cache of one batch holds at most this many tokens.
    """

    def __init__(self, loaded: LoadedModel, batch_tokens: int) -> None:
        self._loaded = loaded
        kind = EncoderDecoderGenerator if loaded.is_encoder_decoder else DecoderOnlyGenerator
        self._generator = kind(loaded, batch_tokens, stop_ids(loaded))

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        advance: Advance = ignore_progress,
    ) -> list[Generation]:
        """See `Engine.generate`. The model is put in evaluation mode."""
        self._loaded.model.eval()
        tokens = self._generator.generate(prompts, max_new_tokens, advance)
        stops = self._generator.stop_ids
        return [self._finish(ids, stops) for ids in tokens]

    @torch.inference_mode()
    def score(
        self, requests: Sequence[ScoreRequest], advance: Advance = ignore_progress
    ) -> list[Score]:
        """See `Engine.score`. The model is put in evaluation mode."""
        self._loaded.model.eval()
        return Scorer(self._loaded).score(requests, advance)

    @torch.inference_mode()
    def losses(
        self, sequences: Sequence[Sequence[int]], advance: Advance = ignore_progress
    ) -> list[TextLoss]:
        """See `Engine.losses`."""
        self._loaded.model.eval()
        results = [TextLoss(0.0, 0)] * len(sequences)
        lengths = [len(ids) for ids in sequences]
        for batch in micro_batches(lengths, tokens=_LOSS_BATCH_TOKENS, max_padding=MAX_PADDING):
            for index, nats in zip(batch, self._nats([sequences[i] for i in batch]), strict=True):
                results[index] = TextLoss(nats, max(len(sequences[index]) - 1, 0))
            advance(len(batch))
        return results

    def _nats(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        ids_BT, mask_BT = pad(sequences, self._loaded.device, "right")
        inputs: dict[str, Any] = {"input_ids": ids_BT, "attention_mask": mask_BT.long()}
        keep_BT = torch.zeros_like(mask_BT)
        keep_BT[:, :-1] = mask_BT[:, 1:]
        if self._loaded.is_encoder_decoder:
            # The text is what the decoder says to an empty question.
            start = self._loaded.model.config.decoder_start_token_id
            empty = torch.full_like(ids_BT[:, :1], self._loaded.tokenizer.eos_token_id)
            shifted = torch.cat([torch.full_like(empty, start), ids_BT[:, :-1]], dim=1)
            inputs = {"input_ids": empty, "decoder_input_ids": shifted}
            keep_BT = mask_BT.clone()
            keep_BT[:, 0] = False
        logits_KV = logits_at(self._loaded.model, inputs, keep_BT).float()
        targets_K = ids_BT[:, 1:][mask_BT[:, 1:]]
        nats_K = torch.nn.functional.cross_entropy(logits_KV, targets_K, reduction="none").double()
        counts = torch.tensor([max(len(ids) - 1, 0) for ids in sequences])
        parts = torch.tensor_split(nats_K.cpu(), counts.cumsum(0)[:-1])
        return [float(part.sum()) for part in parts]

    def _finish(self, ids: list[int], stops: frozenset[int]) -> Generation:
        stopped = bool(ids) and ids[-1] in stops
        kept = ids[:-1] if stopped else ids
        text = self._loaded.tokenizer.decode(kept, skip_special_tokens=True)
        return Generation(tuple(kept), text.strip(), "stop" if stopped else "length")


def stop_ids(loaded: LoadedModel) -> frozenset[int]:
    """The tokens that end a turn: the tokenizer's and the generation config's."""
    configured = loaded.model.generation_config.eos_token_id
    values = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*values, loaded.tokenizer.eos_token_id] if i is not None)
