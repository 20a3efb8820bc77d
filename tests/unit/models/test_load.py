"""Loading, precision and devices."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from luthier.config import ModelConfig
from luthier.core.console import Console
from luthier.models.device import PeakMemory, default_device, free_memory, resolve_dtype
from luthier.models.load import open_model

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "encoder_decoder", "chat"), [("tiny_llama", False, True), ("tiny_t5", True, False)]
)
def test_a_handle_describes_the_model_without_its_weights(
    name: str, encoder_decoder: bool, chat: bool, load: Any, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    handle = open_model(ModelConfig(id=str(folder)), Console(quiet=True))
    loaded = load(folder)
    assert handle.is_encoder_decoder is loaded.is_encoder_decoder is encoder_decoder
    assert handle.has_chat_template is chat
    assert handle.context_window == loaded.context_window
    assert handle.tokenizer.pad_token_id is not None


def test_context_windows(load: Any, tiny_llama: Any, tiny_t5: Any, bundled_handle: Any) -> None:
    assert load(tiny_llama).context_window == 1024
    assert bundled_handle.context_window == 8192
    assert load(tiny_t5).context_window > 10_000  # relative positions set no limit


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_stamp_says_what_was_loaded(dtype: str, load: Any, tiny_llama: Any) -> None:
    loaded = load(tiny_llama, dtype)
    assert {str(p.dtype) for p in loaded.model.parameters()} == {f"torch.{dtype}"}
    assert loaded.stamp.dtype == dtype
    assert loaded.stamp.parameters == sum(p.numel() for p in loaded.model.parameters())
    assert loaded.stamp.architecture == "LlamaForCausalLM"
    assert loaded.stamp.revision.startswith("sha256:")
    assert not loaded.model.training


def test_a_named_precision_is_taken_as_it_is() -> None:
    assert resolve_dtype("float32", CPU) is torch.float32
    assert resolve_dtype("bfloat16", CPU) is torch.bfloat16
    assert resolve_dtype("auto", CPU) in (torch.float32, torch.bfloat16)


def test_peak_memory_sees_what_was_given_back() -> None:
    peak = PeakMemory(CPU)
    before = peak.read()
    block = torch.ones(2**25)  # 128 MiB
    del block
    assert peak.read() - before > 100 * 2**20
    assert free_memory(default_device()) > 0
