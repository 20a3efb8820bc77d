"""The planner's formulas against published tables of compute, time and utilisation."""

from __future__ import annotations

import pytest

from luthier.planning.cost import training_cost
from luthier.planning.flops import (
    flops_per_token,
    hardware_flops_utilisation,
    korthikanti_flops,
    model_flops_utilisation,
    petaflop_s_days,
    training_flops,
)
from luthier.planning.hardware import Cluster, find_device

A100 = 312e12

# GPT-3 (arXiv 2005.14165), table D.1: millions of parameters, petaflop/s-days, FLOPs; 300 B tokens.
GPT3 = (
    (125, 2.60, 2.25e20),
    (356, 7.42, 6.41e20),
    (760, 15.8, 1.37e21),
    (1_320, 27.5, 2.38e21),
    (2_650, 55.2, 4.77e21),
    (6_660, 139, 1.20e22),
    (12_850, 268, 2.31e22),
    (174_600, 3640, 3.14e23),
)


@pytest.mark.parametrize(("millions", "days", "flops"), GPT3)
def test_gpt3s_compute(millions: float, days: float, flops: float) -> None:
    computed = training_flops(millions * 1e6, 300e9)
    assert computed == pytest.approx(flops, rel=5e-3)
    assert petaflop_s_days(computed) == pytest.approx(days, rel=5e-3)


# LLaMA (arXiv 2302.13971), table 15: parameters, tokens, GPU-hours on A100-80GB, MWh; and the
# utilisation that these imply.
LLAMA = (
    (6.7e9, 1.0e12, 82_432, 36, 0.434),
    (13.0e9, 1.0e12, 135_168, 59, 0.514),
    (32.5e9, 1.4e12, 530_432, 233, 0.458),
    (65.2e9, 1.4e12, 1_022_362, 449, 0.477),
)


@pytest.mark.parametrize(("parameters", "tokens", "hours", "energy", "mfu"), LLAMA)
def test_llamas_hours_energy_and_utilisation(
    parameters: float, tokens: float, hours: float, energy: float, mfu: float
) -> None:
    speed = tokens / (hours * 3600)
    assert model_flops_utilisation(speed, 6 * parameters, A100) == pytest.approx(mfu, abs=1e-3)
    cluster = Cluster(find_device("a100-80gb"), 8)
    cost = training_cost(hours * 3600 / 8, training_flops(parameters, tokens), cluster)
    assert cost.device_hours == pytest.approx(hours)
    assert cost.kilowatt_hours == pytest.approx(energy * 1000, rel=0.02)


def test_bloombergs_flops_are_the_hardwares() -> None:
    """2.36e23 FLOPs at 102 TFLOP/s count the recomputation; the model alone needs 1.73e23."""
    seconds, devices, tokens = 53 * 86400, 512, 569e9
    assert seconds == pytest.approx(139_200 * 32.5, rel=0.02)
    peak = A100 * devices
    hfu = hardware_flops_utilisation(2.36e23, seconds, peak)
    assert hfu == pytest.approx(0.323, abs=1e-3)
    assert hfu == pytest.approx(102e12 / A100, rel=0.02)
    model = training_flops(50.6e9, tokens)
    assert model == pytest.approx(1.73e23, rel=5e-3)
    assert model_flops_utilisation(tokens / seconds, 6 * 50.6e9, peak) == pytest.approx(
        0.236, abs=1e-3
    )
    # A pass more for what is computed again: 8·N·D.
    assert model * 8 / 6 == pytest.approx(2.36e23, rel=0.03)


def test_palms_utilisation() -> None:
    peak, speed = 6144 * 275e12, 238.3e3
    plain = flops_per_token(540e9)
    attending = flops_per_token(540e9, layers=118, heads=48, head_dim=256, length=2048)
    assert model_flops_utilisation(speed, plain, peak) == pytest.approx(0.457, abs=1e-3)
    assert model_flops_utilisation(speed, attending, peak) == pytest.approx(0.462, abs=1e-3)


# Korthikanti et al. 2022 (arXiv 2205.05198), table 5: devices, batch, layers, hidden, seconds with
# selective recomputation, MFU, HFU.
KORTHIKANTI = (
    (8, 4, 48, 6144, 1.10, 0.415, 0.437),
    (64, 64, 96, 12288, 13.75, 0.514, 0.528),
    (280, 280, 105, 20480, 37.83, 0.560, 0.570),
    (512, 512, 128, 25600, 71.49, 0.563, 0.570),
)


@pytest.mark.parametrize(
    ("devices", "batch", "layers", "hidden", "seconds", "mfu", "hfu"), KORTHIKANTI
)
def test_korthikantis_utilisations(
    devices: int, batch: int, layers: int, hidden: int, seconds: float, mfu: float, hfu: float
) -> None:
    for again, expected in ((False, mfu), (True, hfu)):
        flops = korthikanti_flops(
            batch=batch,
            length=2048,
            layers=layers,
            hidden=hidden,
            vocabulary=51_200,
            recompute_attention=again,
        )
        # The seconds are printed with two decimals: 1.10 may be 1.095, half a percent.
        assert hardware_flops_utilisation(flops, seconds, devices * A100) == pytest.approx(
            expected, rel=6e-3
        )


# torchtitan's documentation, 64 A100-80GB: parameters with embeddings, layers, heads, width of a
# head, length, tokens/s for each device, MFU.
TORCHTITAN = (
    (8.03e9, 32, 32, 128, 8192, 2904, 0.568),
    (8.03e9, 32, 32, 128, 8192, 2973, 0.582),
    (70.55e9, 80, 64, 128, 8192, 331, 0.517),
    (13.02e9, 40, 40, 128, 4096, 2162, 0.611),
    (13.02e9, 40, 40, 128, 4096, 1914, 0.541),
    (13.02e9, 40, 40, 128, 4096, 1904, 0.538),
    (68.98e9, 80, 64, 128, 4096, 355, 0.508),
    (68.98e9, 80, 64, 128, 4096, 353, 0.505),
)


@pytest.mark.parametrize(
    ("parameters", "layers", "heads", "head_dim", "length", "speed", "mfu"), TORCHTITAN
)
def test_torchtitans_utilisation(
    parameters: float,
    layers: int,
    heads: int,
    head_dim: int,
    length: int,
    speed: float,
    mfu: float,
) -> None:
    need = flops_per_token(parameters, layers=layers, heads=heads, head_dim=head_dim, length=length)
    assert model_flops_utilisation(speed, need, A100) == pytest.approx(mfu, abs=1.5e-3)
