"""Log-probabilities of single tokens are those of a softmax in double precision."""

from __future__ import annotations

import pytest
import torch

from luthier.models.forward import log_probabilities


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_probabilities_over_a_wide_vocabulary_are_exact(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits_KV = (3 * torch.randn(6, 49152)).to(dtype)
    places_M = torch.tensor([0, 5, 2, 2])
    tokens_M = torch.tensor([7, int(logits_KV[5].argmax()), 9, 49151])
    found_M, greedy_M = log_probabilities(logits_KV, places_M, tokens_M)
    expected_KV = logits_KV.double().log_softmax(-1)
    assert found_M.dtype == torch.float32
    torch.testing.assert_close(found_M.double(), expected_KV[places_M, tokens_M], rtol=0, atol=5e-6)
    assert greedy_M.tolist() == [False, True, False, False]
