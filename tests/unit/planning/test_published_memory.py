"""The planner's memory against published tables and measurements."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.planning import plan_training, read_architecture
from luthier.planning.architecture import Architecture
from luthier.planning.memory import MemoryPlan, pass_cost
from luthier.planning.method_cost import Full, Lora, Tuning, prompt_tuning
from luthier.planning.model_config import known_models
from luthier.planning.step import step_cost
from luthier.planning.tape import Pass
from luthier.planning.training_setup import (
    OPTIMIZERS,
    PRECISIONS,
    Parallel,
    ParallelName,
    Precision,
    PrecisionName,
    TrainingSetup,
)

GIB = 2**30
# ZeRO's accounting, section 3.1: 2 bytes a weight, 2 a gradient, 12 of states.
ZERO = Precision(2, 2, 4, 2, 4, "bfloat16")


def known(name: str) -> Architecture:
    return read_architecture(known_models()[name], name)


def gpt(
    layers: int, hidden: int, heads: int, vocabulary: int = 1, **changes: float
) -> Architecture:
    values = {
        "model_type": "gpt2",
        "n_embd": hidden,
        "n_layer": layers,
        "n_head": heads,
        "vocab_size": vocabulary,
        "n_positions": 2048,
        "activation_function": "gelu",
    }
    return read_architecture(values)


def states(model: Architecture, kind: ParallelName, devices: int) -> float:
    setup = TrainingSetup(
        Full(), ZERO, parallel=Parallel(kind, devices), accumulation=2, length=1, predicted=1
    )
    return plan_training(model, setup).states / model.parameters


# ZeRO (arXiv 1910.02054), table 1, as bytes for a parameter: GB of the 7.5 B model over 7.5.
ZERO_TABLE = {
    ("zero1", 4): 52.5,
    ("zero1", 16): 35.6,
    ("zero1", 64): 31.4,
    ("zero1", 256): 30.4,
    ("zero1", 1024): 30.1,
    ("zero2", 4): 41.3,
    ("zero2", 16): 21.6,
    ("zero2", 64): 16.6,
    ("zero2", 256): 15.4,
    ("zero2", 1024): 15.1,
    ("zero3", 4): 30.0,
    ("zero3", 16): 7.5,
    ("zero3", 64): 1.88,
    ("zero3", 256): 0.47,
    ("zero3", 1024): 0.12,
}


@pytest.mark.parametrize(("kind", "devices"), ZERO_TABLE)
def test_zeros_table(kind: ParallelName, devices: int) -> None:
    # A byte for a parameter does not depend on the model; this one is quick to describe.
    printed = ZERO_TABLE[kind, devices]
    computed = 7.5 * states(gpt(24, 2048, 16, 50257), kind, devices)
    assert computed == pytest.approx(printed, rel=2e-3, abs=0.055 if printed > 1 else 0.005)


def test_without_sharding_each_parameter_takes_16_bytes() -> None:
    assert states(gpt(24, 2048, 16, 50257), "ddp", 64) == pytest.approx(16, rel=1e-6)


# Korthikanti et al. 2022 (arXiv 2205.05198): layers, hidden, heads, GB of one layer's activations
# at batch 1 and 2,048 tokens without recomputation, and with the attention core recomputed.
ACTIVATIONS = (
    (48, 6144, 64, 1.770, 0.428),
    (96, 12288, 96, 2.869, 0.856),
    (105, 20480, 128, 4.110, 1.426),
    (128, 25600, 160, 5.138, 1.783),
)


@pytest.mark.parametrize(("layers", "hidden", "heads", "whole", "selective"), ACTIVATIONS)
def test_korthikantis_activations(
    layers: int, hidden: int, heads: int, whole: float, selective: float
) -> None:
    """s·b·h·(34 + 5·a·s/h): with attention that holds its weights; 34 of them without."""
    length = 2048
    size = Pass(1, length, itemsize=2, fused_attention=False)
    cost = step_cost(gpt(layers, hidden, heads), Full(), size, predicted=1)
    layer, times = cost.layers[0]
    assert times == layers
    formula = length * hidden * (34 + 5 * heads * length / hidden)
    assert formula / 1e9 == pytest.approx(whole, rel=1e-3)
    assert length * hidden * 34 / 1e9 == pytest.approx(selective, rel=1e-3)
    # Ours adds two statistics of each norm.
    assert layer.kept == pytest.approx(formula, rel=1e-3)
    assert layer.kept > formula


def test_the_course_example_ddp_runs_out_where_fsdp_does_not() -> None:
    """T5 of 611 M, 2.28 B and 11.3 B on A100-80GB: DDP fits up to 2.28 B (arXiv 2304.11277)."""
    sizes = {
        "google-t5/t5-large": (True, True),
        "google-t5/t5-3b": (True, True),
        "google-t5/t5-11b": (False, True),
    }
    for name, (ddp, fsdp) in sizes.items():
        for kind, fits in (("ddp", ddp), ("fsdp", fsdp)):
            setup = TrainingSetup(
                Full(),
                PRECISIONS["float32"],
                parallel=Parallel(kind, 8),
                checkpointing="full",
                batch=8,
                length=512,
                target_length=128,
                predicted=8 * 128,
            )
            assert (plan_training(known(name), setup).total <= 80 * GIB) is fits, (name, kind)


def test_loras_memory_and_artifact_on_gpt3() -> None:
    """1.2 TB of full fine-tuning become 350 GB; r = 4 on q and v is 35 MB (arXiv 2106.09685)."""
    model = known("gpt3-175b")
    # The paper adapts q and v, 2 · 96 · 2 · 12288 · 4 numbers. GPT-2's code has one product for q,
    # k and v, whose two factors have 12288 · 4 and 4 · 3 · 12288: as many.
    adapted = TrainingSetup(Lora(rank=4, targets=("c_attn",)), PRECISIONS["bf16-pure"], length=1)
    assert pass_cost(model, adapted).trained_count == 18_874_368
    full = TrainingSetup(Full(), PRECISIONS["bf16-pure"], length=1, predicted=1, accumulation=2)
    assert plan_training(model, full).states == pytest.approx(model.parameters * 8, rel=1e-6)
    lora = TrainingSetup(Lora(rank=4), PRECISIONS["bf16-pure"], length=1, predicted=1)
    assert plan_training(model, lora).weights == pytest.approx(350e9, rel=1e-2)


def test_qloras_memory() -> None:
    """4.5 bits a weight, 4.127 with double quantisation (arXiv 2305.14314, section 3)."""
    model = known("meta-llama/Llama-2-70b-hf")
    linears = sum(weight.count for weight in model.linears())
    for name, bits in (("nf4", 4.5), ("nf4-double", 4.127)):
        setup = TrainingSetup(Lora(), PRECISIONS[name], length=1, predicted=1)
        plan = plan_training(model, setup)
        others = (model.parameters - linears) * 2
        assert (plan.weights + plan.quantisation - others) * 8 / linears == pytest.approx(
            bits, abs=1e-3
        )


def test_llama_65b_needs_780_gb_in_16_bits_and_48_in_4() -> None:
    """QLoRA's abstract and introduction: full fine-tuning above 780 GB, QLoRA below 48 GB."""
    model = known("huggyllama/llama-65b")
    # Weights and gradients of 2 bytes, two moments of 4.
    full = TrainingSetup(Full(), Precision(2, 2, 0, 2, 4, "bfloat16"), length=1, accumulation=2)
    assert plan_training(model, full).states == pytest.approx(780e9, rel=5e-3)
    lora = TrainingSetup(
        Lora(rank=64), PRECISIONS["nf4-double"], length=512, predicted=512, checkpointing="full"
    )
    assert plan_training(model, lora).total < 48 * GIB  # what a card of 48 GB has


def l40s(tuning: Tuning) -> MemoryPlan:
    """peft's method comparison on one L40S: Llama-3.2-3B, batch 4 of 768 tokens, bfloat16."""
    setup = TrainingSetup(
        tuning,
        PRECISIONS["bf16-pure"],
        OPTIMIZERS["adamw-foreach"],
        batch=4,
        length=768,
        predicted=4 * 768,
        logits_everywhere=True,
        padded=True,
    )
    return plan_training(known("meta-llama/Llama-3.2-3B"), setup)


@pytest.mark.parametrize(
    ("tuning", "measured"),
    [
        (Full(), 36.20),
        (Lora(targets=("q_proj", "v_proj"), rank=32), 20.76),
        (Lora(targets=("q_proj", "v_proj"), rank=64), 21.00),
        (prompt_tuning(200), 22.72),
    ],
)
def test_measured_rows_of_the_l40s(tuning: Tuning, measured: float) -> None:
    assert l40s(tuning).reserved / GIB == pytest.approx(measured, rel=0.10)


def torchtune(
    model: str, tuning: Tuning, precision: PrecisionName, batch: int, **more: Any
) -> MemoryPlan:
    """torchtune's README: 2,048 packed tokens, compiled, in bfloat16; its configurations recompute
    every layer and compute the loss in eight parts, of which no logits are taken to outlive it."""
    setup = TrainingSetup(
        tuning,
        PRECISIONS[precision],
        checkpointing="full",
        batch=batch,
        length=2048,
        predicted=2048 * batch,
        loss_chunks=8,
        compiled=True,
        **more,
    )
    return plan_training(known(f"meta-llama/Llama-3.1-{model}"), setup)


LINEARS = ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SHORT_LORA = Lora(targets=LINEARS, rank=8, itemsize=2)
IN_BACKWARD = {"optimizer": OPTIMIZERS["paged-adamw-8bit"], "update_in_backward": True}
EIGHT = {"parallel": Parallel("fsdp", 8)}
ON_THE_HOST = {"parallel": Parallel("fsdp", 8, offload=True, shard_embeddings=True)}


@pytest.mark.parametrize(
    ("model", "tuning", "precision", "batch", "more", "measured"),
    [
        ("8B", Full(), "bf16-pure", 2, IN_BACKWARD, 18.9),
        ("8B", SHORT_LORA, "bf16-pure", 2, {}, 16.2),
        ("8B", SHORT_LORA, "nf4-double", 2, {}, 7.4),
        ("70B", Full(), "bf16-pure", 2, ON_THE_HOST, 13.9),
        ("70B", SHORT_LORA, "bf16-pure", 2, EIGHT, 27.6),
        # The README says two sequences of this row too; its configuration says one.
        ("405B", SHORT_LORA, "nf4-double", 1, EIGHT, 44.8),
    ],
)
def test_published_rows_of_torchtune(
    model: str,
    tuning: Tuning,
    precision: PrecisionName,
    batch: int,
    more: dict[str, Any],
    measured: float,
) -> None:
    plan = torchtune(model, tuning, precision, batch, **more)
    assert plan.allocated / GIB == pytest.approx(measured, rel=0.10)


def test_offloading_leaves_the_activations_and_what_is_gathered() -> None:
    """DeepSpeed's estimate for ZeRO-3 with all offloaded is 4 bytes a parameter of the largest
    layer; two such layers gathered in 16 bits and one's gradient come to 6."""
    model = known("google-t5/t5-3b")
    parallel = Parallel("zero3", 8, offload=True)
    setup = TrainingSetup(Full(), ZERO, parallel=parallel, length=1, target_length=1, predicted=1)
    plan = plan_training(model, setup)
    layers = [layer for layer, _ in pass_cost(model, setup).layers]
    largest = max(sum(weight.count for weight in layer.weights) for layer in layers)
    tables = model.vocabulary * 1024 * 2
    assert plan.states == 0
    assert plan.communication == pytest.approx(6 * largest + tables, rel=0.01)
    assert plan.host == pytest.approx(model.parameters * 16 / 8, rel=0.01)


def test_prompt_tuning_takes_more_than_lora() -> None:
    """Virtual tokens lengthen every sequence."""
    lora = l40s(Lora(targets=("q_proj", "v_proj"), rank=32))
    assert l40s(prompt_tuning(200)).reserved > lora.reserved


def test_the_pass_is_described_once_for_equal_layers() -> None:
    cost = pass_cost(known("meta-llama/Llama-3.1-70B"), TrainingSetup(Full()))
    assert [times for _, times in cost.layers] == [80]
