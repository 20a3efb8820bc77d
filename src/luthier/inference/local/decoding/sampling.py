"""Sampling in which each draw depends only on the seed, the prompt and the position."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from luthier.config import Sampling
from luthier.core.seeds import derive
from luthier.inference.local.decoding.constraints import Constraints
from luthier.inference.local.decoding.stepwise import StepwiseDecoder

_NEVER = -torch.inf


class SamplingDecoder(StepwiseDecoder):
    """Samples the next token of each row.

    Equal prompts get equal answers, whatever the rest of the batch and the earlier requests are.
    Another seed gives other answers.

    Args:
        constraints: the constraints of the model's generation config.
        sampling: the settings.
        prompts: all prompts, because the draws depend on their tokens.
    """

    def __init__(
        self, constraints: Constraints, sampling: Sampling, prompts: Sequence[Sequence[int]]
    ) -> None:
        super().__init__(constraints)
        self._sampling = sampling
        self._seeds = [derive(sampling.seed, " ".join(map(str, ids))) for ids in prompts]

    def _choose(self, logits_BV: Tensor, prompts: Sequence[int], position: int) -> Tensor:
        filtered_BV = filter_logits(logits_BV.float(), self._sampling)
        seeds = [derive(self._seeds[prompt], position) for prompt in prompts]
        return draw(filtered_BV, seeds)


def filter_logits(logits_BV: Tensor, sampling: Sampling) -> Tensor:
    """The logits of the sampling distribution, -inf for tokens that are never drawn.

    The steps and their order are those of transformers' logits processors.
    """
    logits_BV = logits_BV / sampling.temperature
    if sampling.top_k is not None:
        logits_BV = _top_k(logits_BV, min(sampling.top_k, logits_BV.shape[-1]))
    if sampling.top_p < 1:
        logits_BV = _top_p(logits_BV, sampling.top_p)
    if sampling.min_p > 0:
        logits_BV = _min_p(logits_BV, sampling.min_p)
    return logits_BV


def draw(logits_BV: Tensor, seeds: Sequence[int]) -> Tensor:
    """Draw a token of each row with its own seed.

    The argmax of logits plus Gumbel noise has the softmax's distribution (Maddison et al. 2014,
    arXiv 1411.0030, section 2.1). The last bits of the logits depend on the batch; they hardly
    change an argmax, but they do change a cumulative sum. The noise is made on the CPU, so that it
    is the same on every device.

    Returns:
        ``[B]``.
    """
    uniform_BV = torch.stack([_uniform(logits_BV.shape[-1], seed) for seed in seeds])
    gumbel_BV = -(-uniform_BV.log()).log()
    return (logits_BV + gumbel_BV.to(logits_BV.device)).argmax(-1)


def _uniform(size: int, seed: int) -> Tensor:
    """Numbers between 0 and 1, both excluded."""
    numbers_V = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return numbers_V.clamp_(min=torch.finfo(torch.float64).tiny)


def _top_k(logits_BV: Tensor, k: int) -> Tensor:
    least_B1 = logits_BV.topk(k).values[:, -1:]
    return logits_BV.masked_fill(logits_BV < least_B1, _NEVER)


def _top_p(logits_BV: Tensor, p: float) -> Tensor:
    """Drop the least likely tokens of total probability at most 1 - p, never the likeliest one."""
    ascending_BV, order_BV = logits_BV.sort(descending=False)
    dropped_BV = ascending_BV.softmax(-1).cumsum(-1) <= 1 - p
    dropped_BV[:, -1] = False
    return logits_BV.masked_fill(dropped_BV.scatter(-1, order_BV, dropped_BV), _NEVER)


def _min_p(logits_BV: Tensor, share: float) -> Tensor:
    probabilities_BV = logits_BV.softmax(-1)
    least_B1 = share * probabilities_BV.amax(-1, keepdim=True)
    return logits_BV.masked_fill(probabilities_BV < least_B1, _NEVER)
