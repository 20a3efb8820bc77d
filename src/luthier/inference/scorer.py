"""Log-likelihoods of continuations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from luthier.core.errors import UsageError
from luthier.data.batches import micro_batches
from luthier.inference.engine import Advance, Score, ScoreRequest
from luthier.inference.padding import MAX_PADDING, pad
from luthier.models.forward import logits_at
from luthier.models.load import LoadedModel

_BATCH_TOKENS = 1024


class Scorer:
    """Scores requests; see `Engine.score`.

    Args:
        loaded: the model; adapters and soft prompts around it are used.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded

    def score(self, requests: Sequence[ScoreRequest], advance: Advance) -> list[Score]:
        """See `Engine.score`."""
        requests = complete(requests, self._loaded.tokenizer)
        results = [Score(0.0, False)] * len(requests)
        lengths = [len(r.context) + len(r.continuation) for r in requests]
        for batch in micro_batches(lengths, tokens=_BATCH_TOKENS, max_padding=MAX_PADDING):
            for index, score in zip(batch, self._batch([requests[i] for i in batch]), strict=True):
                results[index] = score
            advance(len(batch))
        return results

    def _batch(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        if self._loaded.is_encoder_decoder:
            inputs, keep_BT = self._encoder_decoder_inputs(requests)
        else:
            inputs, keep_BT = self._causal_inputs(requests)
        logprobs_KV = logits_at(self._loaded.model, inputs, keep_BT).float().log_softmax(-1)
        targets_K = torch.tensor(
            [token for r in requests for token in r.continuation], device=logprobs_KV.device
        )
        chosen_K = logprobs_KV.gather(1, targets_K[:, None])[:, 0].double()
        greedy_K = logprobs_KV.argmax(-1) == targets_K
        lengths = [len(r.continuation) for r in requests]
        parts = zip(chosen_K.split(lengths), greedy_K.split(lengths), strict=True)
        return [Score(float(chosen.sum()), bool(greedy.all())) for chosen, greedy in parts]

    def _causal_inputs(self, requests: Sequence[ScoreRequest]) -> tuple[dict[str, Any], Tensor]:
        rows = [(*r.context, *r.continuation[:-1]) for r in requests]
        ids_BT, mask_BT = pad(rows, self._loaded.device, "right")
        keep_BT = mask_BT.clone()
        for row, request in enumerate(requests):
            keep_BT[row, : len(request.context) - 1] = False
        return {"input_ids": ids_BT, "attention_mask": mask_BT.long()}, keep_BT

    def _encoder_decoder_inputs(
        self, requests: Sequence[ScoreRequest]
    ) -> tuple[dict[str, Any], Tensor]:
        start = self._loaded.model.config.decoder_start_token_id
        ids_BT, mask_BT = pad([r.context for r in requests], self._loaded.device, "right")
        said = [(start, *r.continuation[:-1]) for r in requests]
        said_BT, keep_BT = pad(said, self._loaded.device, "right")
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BT.long()}
        return inputs | {"decoder_input_ids": said_BT}, keep_BT


def complete(requests: Sequence[ScoreRequest], tokenizer: Any) -> list[ScoreRequest]:
    """The requests with a token in the place of an empty context.

    Raises:
        UsageError: a continuation is empty, or a context is and the tokenizer has no such token.
    """
    for index, request in enumerate(requests):
        if not request.continuation:
            raise UsageError(
                "a continuation has no tokens",
                where=f"request {index}",
                fix="leave it out, or score at least one token",
            )
    if all(request.context for request in requests):
        return list(requests)
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    first = next((token for token in known if token is not None), None)
    if first is None:
        index = next(i for i, request in enumerate(requests) if not request.context)
        raise UsageError(
            "a context is empty, and the tokenizer has no token that texts begin or end with",
            where=f"request {index}",
            fix="give it a context of at least one token",
        )
    return [r if r.context else replace(r, context=(first,)) for r in requests]
