"""What the trace counts is what torch allocates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.objectives import SUPERVISED
from transformers import LlamaConfig, T5Config

from luthier.config import load_config
from luthier.core.errors import DataError, UsageError
from luthier.training.trace import BatchShape, measure_step, trace_step

LLAMA = LlamaConfig(
    vocab_size=512,
    hidden_size=64,
    intermediate_size=160,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    tie_word_embeddings=False,
)
PARAMETERS = 2 * 512 * 64 + 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 160 + 2 * 64) + 64
CONFIG = load_config(flags={"model.dtype": "float32"})
SHAPE = BatchShape(rows=3, length=40, predicted=30)


def test_the_parts_of_full_tuning() -> None:
    peak = trace_step(LLAMA, "full", CONFIG, SHAPE, SUPERVISED).peak
    assert peak.trained_weights == PARAMETERS * 4
    assert peak.optimizer >= PARAMETERS * 8  # and a step count a tensor
    assert peak.masters == peak.adapters == 0
    # Rotary frequencies are buffers.
    assert peak.frozen_weights < 1024


def test_short_weights_have_masters() -> None:
    short = load_config(flags={"model.dtype": "bfloat16"})
    trace = trace_step(LLAMA, "full", short, SHAPE, SUPERVISED)
    assert trace.peak.trained_weights == PARAMETERS * 2
    assert trace.peak.masters == PARAMETERS * 4
    assert trace.optimizer_step.gradients == PARAMETERS * 4


def test_of_a_frozen_model_adapters_alone_have_gradients() -> None:
    trace = trace_step(LLAMA, "lora", CONFIG, SHAPE, SUPERVISED)
    assert trace.peak.frozen_weights >= PARAMETERS * 4
    assert trace.peak.trained_weights == 0
    assert trace.optimizer_step.gradients == trace.peak.adapters > 0


def test_logits_exist_where_something_is_predicted() -> None:
    def logits(predicted: int) -> int:
        shape = BatchShape(rows=3, length=40, predicted=predicted)
        return trace_step(LLAMA, "lora", CONFIG, shape, SUPERVISED).forward.logits

    assert logits(60) == 2 * logits(30)
    assert logits(30) % (30 * 512 * 4) == 0


def test_checkpointing_keeps_less() -> None:
    def kept(again: str) -> int:
        flags = {"model.dtype": "float32", "train.activation_checkpointing": again}
        shape = BatchShape(rows=4, length=128, predicted=30)
        return trace_step(
            LLAMA, "full", load_config(flags=flags), shape, SUPERVISED
        ).peak.activations

    assert kept("full") < kept("none") / 2
    assert kept("full") < kept("selective") < kept("none")


def test_tensors_without_data_take_what_real_ones_take(load: Any, tiny_llama: Any) -> None:
    """The same step on real weights, counted by the same tracker, byte for byte."""
    real = load(tiny_llama)
    traced = trace_step(real.model.config, "lora", CONFIG, SHAPE, SUPERVISED)
    even = {"micro_batch_tokens": SHAPE.tokens, "max_padding": 0.999}
    config = CONFIG.model_copy(update={"train": CONFIG.train.model_copy(update=even)})
    measured = measure_step(real, "lora", config, SHAPE.examples(), SUPERVISED)
    assert traced.peak.model_dump() == pytest.approx(measured.peak.model_dump(), rel=0.01)
    assert torch.is_grad_enabled()


def test_what_cannot_be_traced_is_refused() -> None:
    from transformers import ViTConfig

    with pytest.raises(UsageError, match="does not generate"):
        trace_step(ViTConfig(), "lora", CONFIG, SHAPE, SUPERVISED)
    with pytest.raises(UsageError, match="cannot be predicted"):
        BatchShape(rows=1, length=4, predicted=4)
    with pytest.raises(UsageError, match="at least one row"):
        BatchShape(rows=0, length=4, predicted=1)


@pytest.mark.long
def test_an_encoder_decoder_has_both_sides() -> None:
    small = T5Config(
        vocab_size=512, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4,
        decoder_start_token_id=0,
    )  # fmt: skip
    short, long = (
        trace_step(
            small, "lora", CONFIG, BatchShape(rows=2, length=32, target_length=target), SUPERVISED
        )
        for target in (8, 32)
    )
    assert long.forward.logits == 4 * short.forward.logits
    assert long.peak.activations > short.peak.activations


def test_an_encoder_decoder_says_how_an_answer_begins() -> None:
    silent = T5Config(vocab_size=512, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4)
    with pytest.raises(DataError, match="no decoder_start_token_id") as caught:
        trace_step(
            silent, "lora", CONFIG, BatchShape(rows=2, length=32, target_length=8), SUPERVISED
        )
    assert "decoder_start_token_id" in caught.value.where
