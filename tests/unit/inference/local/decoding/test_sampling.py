"""Draws have the softmax's frequencies, and follow from their seed alone."""

from __future__ import annotations

import torch
from scipy.stats import chisquare

from luthier.config import Sampling
from luthier.core.seeds import derive
from luthier.inference.local.decoding.sampling import draw, filter_logits

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, 0.5, -torch.inf, 1.5]])


def test_tokens_come_as_often_as_they_are_likely() -> None:
    draws = draw(LOGITS.expand(20000, -1), [derive(0, n) for n in range(20000)])
    counts = torch.bincount(draws, minlength=7).tolist()
    expected = (20000 * LOGITS.double().softmax(-1)[0]).tolist()
    assert counts.pop(5) == expected.pop(5) == 0
    assert chisquare(counts, expected).pvalue > 0.01


def test_filtered_tokens_never_come() -> None:
    filtered = filter_logits(LOGITS, Sampling(temperature=2.0, top_k=3, top_p=0.9))
    draws = draw(filtered.expand(3000, -1), range(3000))
    assert set(draws.tolist()) == {0, 1, 6}


def test_a_draw_follows_from_its_seed_and_its_row() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 50)
    seeds = [3, 1, 4, 1, 5, 2**62]
    together = draw(logits, seeds).tolist()
    alone = [int(draw(logits[row : row + 1], [seed])) for row, seed in enumerate(seeds)]
    assert together == alone
    assert torch.equal(draw(logits, seeds), draw(logits, seeds))


def test_the_last_bits_of_the_logits_hardly_matter() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2000, 300)
    nudged = logits + 1e-6 * torch.randn_like(logits)
    assert torch.equal(draw(logits, range(2000)), draw(nudged, range(2000)))
