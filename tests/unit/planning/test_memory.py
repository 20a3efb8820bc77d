"""What a processor's allocator adds to the tensors."""

from __future__ import annotations

import pytest

from luthier.planning import plan_training, read_architecture
from luthier.planning.memory import MemoryPlan
from luthier.planning.method_cost import Full, Lora, Tuning
from luthier.planning.model_config import known_models
from luthier.planning.overhead import CUDA, GLIBC_CPU, POOLED_CPU, Overhead
from luthier.planning.training_setup import OPTIMIZERS, PRECISIONS, Parallel, TrainingSetup

GPT2 = read_architecture(known_models()["openai-community/gpt2"], "gpt2")
TABLE = 50257 * 768 * 4
ON_CPU = pytest.mark.parametrize("overhead", [POOLED_CPU, GLIBC_CPU])


def planned(overhead: Overhead, tuning: Tuning, accumulation: int = 1) -> MemoryPlan:
    size = {"batch": 8, "length": 512, "predicted": 256, "accumulation": accumulation}
    return plan_training(GPT2, TrainingSetup(tuning, on_cpu=True, **size), overhead)


def test_a_pool_leaves_no_holes() -> None:
    pooled, glibc = (planned(overhead, Lora()) for overhead in (POOLED_CPU, GLIBC_CPU))
    assert pooled.parts() == glibc.parts()
    assert pooled.allocator.expected == 0 < glibc.allocator.expected
    assert pooled.total < glibc.total


@ON_CPU
def test_the_parts_and_what_lies_beside_them_are_the_total(overhead: Overhead) -> None:
    plan = planned(overhead, Lora())
    beside = plan.allocator.expected + plan.framework.expected
    assert plan.total == sum(plan.parts().values()) + beside
    interval = plan.total_interval
    assert interval.low <= interval.expected == plan.total <= interval.high


def test_the_usual_overhead_is_that_of_the_device() -> None:
    setup = TrainingSetup(Lora())
    assert plan_training(GPT2, setup) == plan_training(GPT2, setup, CUDA)


def test_what_decodes_weights_may_be_whole_on_each_device() -> None:
    alone, sharded = (
        plan_training(GPT2, TrainingSetup(Lora(), PRECISIONS["nf4-double"], parallel=parallel))
        for parallel in (Parallel(), Parallel("fsdp", 4, whole_constants=True))
    )
    assert sharded.weights == pytest.approx(alone.weights / 4)
    assert sharded.quantisation == alone.quantisation > 0


def test_torchs_second_stage_keeps_a_part_beside_whole_weights() -> None:
    zeros, torchs = (
        plan_training(GPT2, TrainingSetup(Full(), parallel=Parallel("zero2", 4, keeps_part=kept)))
        for kept in (False, True)
    )
    assert torchs.weights == pytest.approx(1.25 * zeros.weights)
    assert (torchs.gradients, torchs.optimizer) == (zeros.gradients, zeros.optimizer)


def test_two_parts_of_a_shared_table_are_summed_into_a_third() -> None:
    """With earlier micro-batches' gradients there, the sum exists beside them (measured)."""
    short = TrainingSetup(Full(), batch=1, length=8, predicted=4, on_cpu=True)
    alone = plan_training(GPT2, short)
    added = plan_training(
        GPT2, TrainingSetup(Full(), batch=1, length=8, predicted=4, accumulation=2)
    )
    assert (alone.phase, added.phase) == ("backward", "backward")
    assert added.temporary - alone.temporary == TABLE
    assert alone.temporary == 2 * TABLE


def test_a_cpu_updates_eight_bit_states_through_copies_of_a_weight() -> None:
    """Five of the table's size, which on a GPU stay in the kernel's registers."""
    size = {"batch": 1, "length": 8, "predicted": 1, "optimizer": OPTIMIZERS["adamw-8bit"]}
    on_cpu, on_gpu = (
        plan_training(GPT2, TrainingSetup(Full(), on_cpu=here, **size)) for here in (True, False)
    )
    assert (on_cpu.phase, on_cpu.temporary) == ("optimizer step", 5 * TABLE)
    assert on_gpu.phase == "backward"
