from __future__ import annotations

from dataclasses import replace

import pytest

from luthier.core.errors import UsageError
from luthier.planning.families import read_architecture
from luthier.planning.flops import flops_per_token
from luthier.planning.hardware import Cluster, Device, find_device
from luthier.planning.memory import pass_cost
from luthier.planning.method_cost import Full, Lora
from luthier.planning.model_config import known_models
from luthier.planning.time import (
    OVERLAP,
    StepTime,
    compiling_pays,
    forward_time,
    scaling_curve,
    step_time,
)
from luthier.planning.training_setup import PRECISIONS, Checkpointing, Parallel, TrainingSetup

NAME = "meta-llama/Llama-2-7b-hf"
MODEL = read_architecture(known_models()[NAME], NAME)
A100 = find_device("a100-80gb")
SETUP = TrainingSetup(
    tuning=Full(), precision=PRECISIONS["bf16-mixed"], batch=1, length=2048, predicted=2048
)


def timed(setup: TrainingSetup = SETUP, device: Device = A100) -> StepTime:
    cluster = Cluster(device, setup.parallel.devices)
    return step_time(setup, cluster, pass_cost(MODEL, setup))


def shared(kind: str, devices: int, group: int = 0, setup: TrainingSetup = SETUP) -> TrainingSetup:
    return replace(setup, parallel=Parallel(kind, devices, group))  # type: ignore[arg-type]


def test_the_parts_are_the_whole() -> None:
    time = timed(shared("fsdp", 16))
    parts = (time.products, time.traffic, time.optimizer, time.communication, time.overhead)
    assert time.seconds == pytest.approx(sum(parts))
    assert all(part > 0 for part in parts[:4])
    assert time.tokens_per_second == pytest.approx(16 * 2048 / time.seconds)


def test_the_models_flops_are_those_of_the_formula() -> None:
    """6·N + 12·L·H·Q·T a token, N without the table of embeddings, which is not multiplied."""
    multiplied = MODEL.parameters - 32000 * 4096
    need = flops_per_token(multiplied, layers=32, heads=32, head_dim=128, length=2048)
    assert timed().model_flops == pytest.approx(2048 * need, rel=2e-3)


def test_utilisations() -> None:
    plain, again = timed(), timed(replace(SETUP, checkpointing="full"))
    assert plain.mfu == pytest.approx(plain.hfu)
    assert again.mfu < again.hfu
    assert 0.2 < again.mfu < plain.mfu < A100.efficiency


def test_what_runs_between_products_has_a_speed_of_its_own() -> None:
    slower = replace(A100, between=A100.bandwidth / 4)
    cost = pass_cost(MODEL, SETUP)
    fast, slow = (step_time(SETUP, Cluster(device), cost) for device in (A100, slower))
    assert slow.traffic == pytest.approx(4 * fast.traffic)
    assert slow.optimizer == pytest.approx(4 * fast.optimizer)
    assert slow.products == fast.products


def test_a_validation_takes_less_than_a_step() -> None:
    cost = pass_cost(MODEL, SETUP)
    validation = forward_time(SETUP, Cluster(A100), cost)
    assert 0.2 < validation / step_time(SETUP, Cluster(A100), cost).seconds < 0.4


@pytest.mark.parametrize("checkpointing", ["selective", "full"])
def test_what_is_computed_again_takes_time(checkpointing: Checkpointing) -> None:
    assert timed(replace(SETUP, checkpointing=checkpointing)).seconds > timed().seconds


def test_recomputing_layers_costs_a_third_of_their_products_more() -> None:
    ratio = timed(replace(SETUP, checkpointing="full")).products / timed().products
    assert 1.30 < ratio < 4 / 3


def test_frozen_weights_save_a_third_of_the_products() -> None:
    lora = timed(replace(SETUP, tuning=Lora(rank=8)))
    assert 0.65 < lora.products / timed().products < 0.72
    assert lora.optimizer < timed().optimizer / 100


def test_accumulation_repeats_passes_and_not_the_update() -> None:
    four = timed(replace(SETUP, accumulation=4))
    assert four.products == pytest.approx(4 * timed().products)
    assert four.traffic == pytest.approx(4 * timed().traffic)
    assert four.optimizer == pytest.approx(timed().optimizer)
    assert four.tokens == 4 * timed().tokens


def test_short_sequences_wait_for_weights() -> None:
    """One token is multiplied in no time, and every weight has to be read for it."""
    time = timed(replace(SETUP, length=1, predicted=1))
    reading = 3 * MODEL.parameters * 2 / A100.bandwidth
    assert time.products + time.traffic == pytest.approx(reading, rel=0.05)


def test_slower_memory_lengthens_traffic_and_update() -> None:
    slow = timed(device=replace(A100, bandwidth=A100.bandwidth / 2))
    assert slow.products == timed().products
    assert slow.traffic == pytest.approx(2 * timed().traffic)
    assert slow.optimizer == pytest.approx(2 * timed().optimizer)


def test_a_type_that_the_card_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="lacks bfloat16"):
        timed(device=find_device("t4"))


def test_one_device_tells_nobody() -> None:
    assert timed().communication == 0


def test_part_of_the_communication_stays_however_long_the_products() -> None:
    """Doubling the batch hides nothing more once everything that can be hidden is."""
    long = [timed(shared("ddp", 8, setup=replace(SETUP, batch=b))).communication for b in (64, 128)]
    assert long[0] == pytest.approx(long[1])
    slow = replace(A100, link=1e9)
    exposed = timed(shared("ddp", 8), slow).communication
    assert exposed > long[0] / (1 - OVERLAP)


def test_sharded_weights_travel_for_every_micro_batch() -> None:
    slow = replace(A100, network=1e8)
    for kind, times in (("ddp", 1), ("fsdp", 4)):
        once = timed(shared(kind, 64), slow)
        four = timed(shared(kind, 64, setup=replace(SETUP, accumulation=4)), slow)
        unhidden = four.communication / once.communication
        assert unhidden == pytest.approx(times, rel=0.15)


def test_groups_spare_a_slow_network() -> None:
    """Between groups gradients travel once a step, not weights with every micro-batch."""
    slow, four = replace(A100, network=1e9), replace(SETUP, accumulation=4)
    hybrid = timed(shared("hybrid", 64, 8, setup=four), slow)
    whole = timed(shared("fsdp", 64, setup=four), slow)
    assert hybrid.communication < whole.communication / 3


def test_weak_scaling_loses_a_little_with_each_doubling() -> None:
    counts = (8, 64, 512, 4096)
    curve = scaling_curve(
        MODEL, lambda n: shared("fsdp", n), [Cluster(A100, count) for count in counts]
    )
    assert tuple(devices for devices, _ in curve) == counts
    each = [time.tokens_per_second / devices for devices, time in curve]
    assert each == sorted(each, reverse=True)
    assert each[-1] < 0.95 * each[0]


def test_strong_scaling_ends_where_communication_begins() -> None:
    """512 sequences over more and more devices: faster, and less and less so."""
    counts = (8, 64, 512)
    curve = scaling_curve(
        MODEL,
        lambda n: shared("fsdp", n, setup=replace(SETUP, accumulation=512 // n)),
        [Cluster(A100, count) for count in counts],
    )
    assert {time.tokens for _, time in curve} == {512 * 2048}
    seconds = [time.seconds for _, time in curve]
    assert seconds == sorted(seconds, reverse=True)
    efficiency = [seconds[0] * 8 / (s * n) for s, n in zip(seconds, counts, strict=True)]
    assert efficiency[0] == 1 > efficiency[1] > efficiency[2] > 0.3


def test_compiling_pays_in_a_long_training() -> None:
    """Of an hour between products a sixth is saved on a CPU, and half on a GPU."""
    hour, minutes = 3600.0, 300.0
    assert compiling_pays(hour, on_cpu=True)
    assert compiling_pays(minutes, on_cpu=False)
    assert not compiling_pays(minutes, on_cpu=True)
    assert not compiling_pays(60.0, on_cpu=False)
