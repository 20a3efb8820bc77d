"""Base class of the scorers of causal and of encoder-decoder models."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from luthier.core.errors import DataError, UsageError
from luthier.inference.engine import (
    ProgressCallback,
    Score,
    ScoreRequest,
    TextLoss,
    ignore_progress,
)
from luthier.inference.local.budget import Budget
from luthier.inference.local.soft_prompt import unwrap_soft_prompt
from luthier.inference.local.trial import Trial
from luthier.inference.tokenise import TokenRequest
from luthier.models.forward import log_probabilities, logits_at_indices
from luthier.models.load import LoadedModel


class Target(NamedTuple):
    """A token to score: its request, its id and its place in the batch."""

    request: int
    token: int
    row: int
    column: int


class Scorer(ABC):
    """Scores requests; see `Engine.score`.

    Args:
        loaded: the model; a soft prompt is separated from it.
        budget: the limits of a forward pass.
    """

    def __init__(self, loaded: LoadedModel, budget: Budget) -> None:
        self._loaded, self._device, self._budget = loaded, loaded.device, budget
        self._model, self._soft_prompt = unwrap_soft_prompt(loaded.model)
        self._trial = Trial(loaded)

    def score(self, requests: Sequence[TokenRequest], advance: ProgressCallback) -> list[Score]:
        """See `Engine.score`.

        Raises:
            DataError: the model gives a log-probability that is not finite.
        """
        requests = with_contexts(requests, self._loaded.tokenizer)
        tally = Tally(requests, advance)
        self._score(requests, tally)
        scores = tally.scores()
        if wrong := [score.logprob for score in scores if not math.isfinite(score.logprob)]:
            raise DataError(
                f"{len(wrong):,} of {len(scores):,} log-probabilities that the model gives are not "
                f"finite, such as {wrong[0]}",
                where=self._loaded.stamp.id,
                fix="its weights may come from a training that diverged; or its numbers do not fit "
                "into its type: try model.dtype=float32",
            )
        return scores

    @abstractmethod
    def _score(self, requests: Sequence[TokenRequest], tally: Tally) -> None:
        """Add every token of every continuation to the tally."""


def score_targets(
    model: Any,
    inputs: dict[str, Any],
    targets: Sequence[Target],
    width: int,
    feed_forward: torch.nn.Module | None = None,
) -> tuple[list[float], list[bool]]:
    """The scores of some tokens from one forward pass.

    Args:
        model: a transformers or peft model.
        inputs: keyword arguments of its forward.
        targets: the tokens to score; several may share one place of the batch.
        width: tokens of a row.
        feed_forward: see `logits_at_indices`.

    Returns:
        The log-probability of each target in nats, and whether no token is likelier in its place.
    """
    device = model.device
    places = {place: i for i, place in enumerate(dict.fromkeys((t.row, t.column) for t in targets))}
    rows_K = torch.tensor([row for row, _ in places], dtype=torch.long, device=device)
    columns_K = torch.tensor([column - width for _, column in places], dtype=torch.long)
    logits_KV = logits_at_indices(model, inputs, rows_K, columns_K.to(device), feed_forward)
    if not targets:
        return [], []
    places_M = torch.tensor([places[t.row, t.column] for t in targets], device=device)
    tokens_M = torch.tensor([t.token for t in targets], device=device)
    logprobs_M, greedy_M = log_probabilities(logits_KV, places_M, tokens_M)
    return logprobs_M.tolist(), greedy_M.tolist()


class Tally:
    """Sums the log-probabilities of each request's continuation.

    Args:
        requests: the requests.
        advance: called with the number of newly answered requests.
    """

    def __init__(self, requests: Sequence[TokenRequest], advance: ProgressCallback) -> None:
        self._logprobs = [0.0] * len(requests)
        self._greedy = [True] * len(requests)
        self._missing = [len(request.continuation) for request in requests]
        self._advance = advance

    def add(
        self, targets: Sequence[Target], logprobs: Sequence[float], greedy: Sequence[bool]
    ) -> None:
        """Add the scores of some tokens."""
        done = 0
        for target, logprob, likeliest in zip(targets, logprobs, greedy, strict=True):
            self._logprobs[target.request] += logprob
            self._greedy[target.request] &= likeliest
            self._missing[target.request] -= 1
            done += not self._missing[target.request]
        if done:
            self._advance(done)

    def part(self, requests: Sequence[int]) -> Tally:
        """A tally of some of the requests, numbered by their index in ``requests``."""
        return _PartOfTally(self, requests)

    def scores(self) -> list[Score]:
        """The scores, in the order of the requests."""
        return [Score(*pair) for pair in zip(self._logprobs, self._greedy, strict=True)]


class _PartOfTally(Tally):
    """Adds to another tally under that tally's request numbers."""

    def __init__(self, whole: Tally, requests: Sequence[int]) -> None:
        super().__init__((), ignore_progress)
        self._whole, self._numbers = whole, requests

    def add(
        self, targets: Sequence[Target], logprobs: Sequence[float], greedy: Sequence[bool]
    ) -> None:
        named = [target._replace(request=self._numbers[target.request]) for target in targets]
        self._whole.add(named, logprobs, greedy)


def with_contexts(requests: Sequence[TokenRequest], tokenizer: Any) -> list[TokenRequest]:
    """The requests with a BOS token, or else an EOS token, as the context if it is empty.

    Raises:
        UsageError: a continuation is empty, or a context is and the tokenizer has neither token.
    """
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    first = next((token for token in known if token is not None), None)
    for index, request in enumerate(requests):
        if not request.continuation:
            raise UsageError(
                "a continuation has no tokens",
                where=f"request {index}",
                fix="leave it out, or score at least one token",
            )
        if not request.context and first is None:
            raise UsageError(
                "a context is empty, and the tokenizer has no token that texts begin or end with",
                where=f"request {index}",
                fix="give it a context of at least one token",
            )
    stand_in = () if first is None else (first,)
    return [r if r.context else replace(r, context=stand_in) for r in requests]


def losses_from_scores(
    score: Callable[[Sequence[TokenRequest], ProgressCallback], list[Score]],
    sequences: Sequence[Sequence[int]],
    given: int,
    advance: ProgressCallback,
) -> list[TextLoss]:
    """The loss of each token sequence; see `Engine.losses`.

    Args:
        score: an engine's function that scores requests.
        sequences: token ids.
        given: the number of first tokens of each sequence that are not predicted.
        advance: called with the number of newly finished sequences.
    """
    requests = {
        index: ScoreRequest(tuple(ids[:given]), tuple(ids[given:]))
        for index, ids in enumerate(sequences)
        if len(ids) > given
    }
    advance(len(sequences) - len(requests))
    results = [TextLoss(0.0, 0)] * len(sequences)
    scores = score(list(requests.values()), advance)
    for (index, request), scored in zip(requests.items(), scores, strict=True):
        results[index] = TextLoss(-scored.logprob, len(request.continuation))
    return results
