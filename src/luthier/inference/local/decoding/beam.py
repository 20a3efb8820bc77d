"""Beam search: several hypotheses for each answer are continued, and the best answer is returned.

The rules are those of transformers' ``generate`` with ``do_sample=False``: when a hypothesis is
finished, how its length is penalised, and when the search stops. Hypotheses compete only with those
of the same prompt, so that an answer does not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from luthier.config import Beam
from luthier.inference.local.decoding.base import Decoder, Rows
from luthier.inference.local.decoding.constraints import Constraints
from luthier.inference.local.decoding.stopping import Stopping


class _Hypothesis(NamedTuple):
    """A beginning of an answer.

    Attributes:
        logprob: the log-probability of its tokens together, in nats.
        ids: its tokens.
        parent: the index of the hypothesis that it continues, among those of the same prompt in
            the step before.
    """

    logprob: float
    ids: tuple[int, ...] = ()
    parent: int = 0


class BeamDecoder(Decoder):
    """Searches for the likeliest answers.

    Args:
        constraints: the constraints of the model's generation config.
        beam: the settings.
    """

    def __init__(self, constraints: Constraints, beam: Beam) -> None:
        self._constraints, self._beam = constraints, beam

    def decode(self, rows: Rows, stopping: Stopping) -> dict[int, list[int]]:
        """See `Decoder.decode`."""
        searches = [_Search(prompt, self._beam, stopping) for prompt in rows.prompts]
        answers: dict[int, list[int]] = {}
        logits_BV = rows.logits_BV
        count = self._beam.num_beams * max(2, 1 + len(stopping.stop_ids))
        while True:
            kept: list[int] = []
            first = 0
            running = [search.running for search in searches]
            said = [hypothesis.ids for each in running for hypothesis in each]
            logprobs_BV = logits_BV.float().log_softmax(-1)
            allowed_BV = self._constraints.apply(logprobs_BV, rows.prompts, said)
            proposed = _likeliest(allowed_BV, running, count)
            for search, candidates in zip(searches, proposed, strict=True):
                width = len(search.running)
                search.advance(candidates)
                kept += [] if search.is_done else [first + h.parent for h in search.running]
                first += width
            answers |= {search.prompt: search.best for search in searches if search.is_done}
            searches = [search for search in searches if not search.is_done]
            if not searches:
                return answers
            rows.select(kept)
            logits_BV = rows.step([h.ids[-1] for search in searches for h in search.running])


class _Search:
    """The search for the answer to one prompt.

    Attributes:
        prompt: the index of the prompt.
        running: the hypotheses that are continued, the likeliest first.
        is_done: whether the search has ended.
    """

    def __init__(self, prompt: int, beam: Beam, stopping: Stopping) -> None:
        self.prompt = prompt
        self.running = [_Hypothesis(0.0)]
        self.is_done = False
        self._beam, self._stopping = beam, stopping
        self._finished: list[tuple[float, tuple[int, ...]]] = []

    @property
    def best(self) -> list[int]:
        """The tokens of the best finished answer."""
        return list(self._finished[0][1])

    def advance(self, candidates: Iterable[_Hypothesis]) -> None:
        """Take a step.

        Args:
            candidates: hypotheses that are one token longer, the likeliest first; enough of them
                that ``num_beams`` remain even if as many end their turn.
        """
        running: list[_Hypothesis] = []
        for rank, candidate in enumerate(candidates):
            if self._stopping.is_over(candidate.ids):
                if rank < self._beam.num_beams:  # lower ranks only replace those that end
                    self._finish(candidate)
            elif len(running) < self._beam.num_beams:
                running.append(candidate)
        self.is_done = not running or self._is_enough(running[0])
        missing = self._beam.num_beams - len(running)
        self.running = running + [h._replace(logprob=-torch.inf) for h in running[-1:] * missing]

    def _finish(self, hypothesis: _Hypothesis) -> None:
        """Keep a finished hypothesis if it is one of the best."""
        score = self._score(hypothesis, len(hypothesis.ids))
        self._finished.append((score, hypothesis.ids))
        self._finished.sort(key=lambda pair: -pair[0])
        del self._finished[self._beam.num_beams :]

    def _is_enough(self, likeliest: _Hypothesis) -> bool:
        """Whether no running hypothesis is expected to beat the finished ones."""
        if not self._is_full or self._beam.early_stopping is True:
            return self._is_full
        length = len(likeliest.ids)
        if self._beam.early_stopping == "never" and self._beam.length_penalty > 0:
            length = self._stopping.max_new_tokens
        return self._score(likeliest, length) <= self._finished[-1][0]

    @property
    def _is_full(self) -> bool:
        return len(self._finished) == self._beam.num_beams

    def _score(self, hypothesis: _Hypothesis, length: int) -> float:
        return float(hypothesis.logprob / length**self._beam.length_penalty)


def _likeliest(
    logprobs_BV: Tensor, running: Sequence[Sequence[_Hypothesis]], count: int
) -> list[list[_Hypothesis]]:
    """The likeliest continuations by one token, separately for each prompt.

    Args:
        logprobs_BV: log-probabilities of the next token, for all hypotheses of all prompts.
        running: the hypotheses of each prompt, equally many for each.
        count: the number of continuations for each prompt.
    """
    before_B = torch.tensor(
        [h.logprob for each in running for h in each], device=logprobs_BV.device
    )
    vocabulary = logprobs_BV.shape[-1]
    together = (logprobs_BV + before_B[:, None]).view(len(running), -1)
    values, places = together.topk(min(count, together.shape[1]))
    likeliest: list[list[_Hypothesis]] = []
    for hypotheses, *pair in zip(running, values.tolist(), places.tolist(), strict=True):
        likeliest.append([])
        for value, place in zip(*pair, strict=True):
            parent, token = divmod(place, vocabulary)
            likeliest[-1].append(_Hypothesis(value, (*hypotheses[parent].ids, token), parent))
    return likeliest
