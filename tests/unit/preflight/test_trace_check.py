"""The plan and the trace are made from different things, and agree."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import UsageError
from luthier.core.method_facts import METHOD_NAMES
from luthier.planning.plan_request import PlanRequest
from luthier.preflight.trace_check import trace_question

# Norms are copied by peft, a Llama has no biases, quantising needs data, and names are not given.
NOT_TRACED = {"layernorm", "bitfit", "qlora", "selective"}


@pytest.fixture
def small_model(tmp_path: Path) -> str:
    """Large enough that tensors count, small enough to trace at once."""
    values = {
        "model_type": "llama",
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 2048,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(values))
    return str(tmp_path)


def combinations() -> list[Any]:
    """All of three choices; nine hold every pair of two of them, and the others take longer."""
    methods = ("full", "lora", "prompt-tuning")
    precisions = ("float32", "bf16-mixed", "bf16-pure")
    checkpointings = ("none", "selective", "full")
    return [
        pytest.param(
            methods[i], precisions[j], checkpointings[k],
            marks=() if (i + j + k) % 3 == 0 else pytest.mark.long,
        )
        for i, j, k in product(range(3), repeat=3)
    ]  # fmt: skip


@pytest.mark.sample(4)
@pytest.mark.parametrize(("method", "precision", "checkpointing"), combinations())
def test_plan_and_trace_agree(
    method: str, precision: str, checkpointing: str, small_model: str
) -> None:
    check = trace_question(
        PlanRequest(
            small_model,
            method=method,
            precision=precision,
            checkpointing=checkpointing,
            batch=4,
            seq_len=192,
            loss_token_fraction=0.5,
        )
    )
    assert check.error == pytest.approx(0, abs=0.10)


@pytest.mark.sample(6)
@pytest.mark.parametrize("precision", ["float32", "bf16-mixed"])
@pytest.mark.parametrize(
    "method",
    sorted({*METHOD_NAMES} - NOT_TRACED - {"full", "lora", "prompt-tuning"}),
)
def test_plan_and_trace_agree_for_every_method(
    method: str, precision: str, small_model: str
) -> None:
    question = PlanRequest(small_model, method=method, precision=precision, batch=4, seq_len=192)
    check = trace_question(question)
    assert check.error == pytest.approx(0, abs=0.10)


@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_plan_and_trace_agree_where_layers_are_frozen(checkpointing: str, small_model: str) -> None:
    check = trace_question(
        PlanRequest(
            small_model, method="last-layers", checkpointing=checkpointing, batch=4, seq_len=192
        )
    )
    assert check.error == pytest.approx(0, abs=0.10)


@pytest.mark.sample(2)
@pytest.mark.parametrize("optimizer", ["adamw-8bit", "adafactor", "sgd"])
@pytest.mark.parametrize("precision", ["float32", "bf16-mixed"])
def test_plan_and_trace_agree_for_every_optimizer(
    optimizer: str, precision: str, small_model: str
) -> None:
    check = trace_question(
        PlanRequest(
            small_model,
            method="full",
            precision=precision,
            optimizer=optimizer,
            checkpointing="full",
            batch=4,
            seq_len=192,
            loss_token_fraction=0.5,
        )
    )
    assert check.error == pytest.approx(0, abs=0.10)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("model", "method"),
    [("t5-small", "full"), ("flan-t5-small", "full"), ("t5-small", "prefix-tuning")],
)
def test_known_encoder_decoder_models_are_traced(model: str, method: str) -> None:
    check = trace_question(PlanRequest(model, method=method, batch=2, seq_len=64))
    assert check.error == pytest.approx(0, abs=0.10)


def test_what_the_loop_does_not_have_cannot_be_traced(small_model: str) -> None:
    for question in (
        PlanRequest(small_model, method="prefix-tuning", checkpointing="full"),
        PlanRequest(small_model, method="layernorm"),
        PlanRequest(small_model, method="bitfit"),
        PlanRequest(small_model, precision="nf4"),
        PlanRequest(small_model, method="prefix-tuning", checkpointing="selective"),
        PlanRequest(small_model, optimizer="lion"),
        PlanRequest(small_model, optimizer="paged-adamw-8bit"),
        PlanRequest(small_model, precision="bf16-pure", optimizer="sgd"),
        PlanRequest(small_model, devices=2),
    ):
        with pytest.raises(UsageError):
            trace_question(question)
