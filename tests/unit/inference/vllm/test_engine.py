"""What of the vLLM adapter can be tried without a GPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from luthier.config import ModelConfig
from luthier.config.decoding import Beam, Greedy, Sampling
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.inference.vllm.engine import VllmModel, demanded, parameters
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


def test_what_the_generation_config_demands_is_handed_on_or_refused() -> None:
    usual = {"eos_token_id": [2, 3], "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
    assert demanded(usual | {"do_sample": True, "temperature": 0.7, "min_length": 0}) == {}
    assert demanded(usual | {"repetition_penalty": 1.1, "min_new_tokens": 4}) == {
        "repetition_penalty": 1.1,
        "min_tokens": 4,
    }
    for name, value in (
        ("no_repeat_ngram_size", 3),
        ("forced_bos_token_id", 0),
        ("suppress_tokens", [7]),
        ("bad_words_ids", [[7, 8]]),
        ("stop_strings", "###"),
    ):
        with pytest.raises(UsageError, match=f"demands: {name}"):
            demanded(usual | {name: value})


def test_what_decides_its_answers_decides_its_fingerprint(tiny_llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "model")

    def content() -> str:
        return VllmModel(
            open_model(ModelConfig(id=str(folder)), Console(quiet=True)), None
        ).content()

    found = [content()]
    for name, key, value in (
        ("generation_config.json", "eos_token_id", [2, 5]),
        ("tokenizer_config.json", "eos_token", "<|im_start|>"),
    ):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
        found.append(content())
    assert len(set(found)) == 3
    assert content() == found[-1]


def test_an_encoder_decoder_model_is_refused(tiny_t5: Path) -> None:
    handle = open_model(ModelConfig(id=str(tiny_t5)), Console(quiet=True))
    with pytest.raises(UsageError, match="causal models alone"):
        VllmModel.load(handle)
