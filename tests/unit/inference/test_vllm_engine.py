"""What of the vLLM adapter can be tried without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.config import ModelConfig
from luthier.config.decoding import Beam, Greedy, Sampling
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.inference.vllm_engine import VllmModel, parameters
from luthier.models.load import open_model


def test_strategies_become_sampling_parameters() -> None:
    assert parameters(Greedy()) == {"temperature": 0.0}
    assert parameters(Sampling(temperature=0.5, top_k=3, seed=7)) == {
        "temperature": 0.5,
        "top_k": 3,
        "top_p": 1.0,
        "min_p": 0.0,
        "seed": 7,
    }
    with pytest.raises(UsageError, match="beam"):
        parameters(Beam())


def test_an_encoder_decoder_model_is_refused(tiny_t5: Path) -> None:
    handle = open_model(ModelConfig(id=str(tiny_t5)), Console(quiet=True))
    with pytest.raises(UsageError, match="causal models alone"):
        VllmModel.load(handle)
