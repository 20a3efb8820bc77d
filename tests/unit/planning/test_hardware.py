from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from luthier.core.errors import UsageError
from luthier.planning.hardware import (
    Calibration,
    Cluster,
    Device,
    calibration_path,
    catalogue,
    device_of_product,
    find_device,
    machine_key,
    multiplies_bfloat16,
    store_calibration,
    this_cpu,
)
from luthier.planning.precision import usual_precision
from luthier.records.dry_run import MeasuredPlan

DEVICES = list(catalogue().values())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path))
    return tmp_path


def calibration(machine: str) -> Calibration:
    return Calibration(
        flops={"float32": 1e11, "bfloat16": 2e11},
        bandwidth=2e10,
        overhead=1e-3,
        date="2026-01-01",
        machine=machine,
    )


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_figures_are_in_the_units_they_claim(device: Device) -> None:
    assert 8 * 2**30 < device.memory < 300 * 2**30
    assert 100e9 < device.bandwidth < 10e12
    assert 10e9 < device.link < 1e12
    assert 50 < device.watts <= 1000
    assert 0.3 < device.efficiency < 0.9


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_peaks_are_dense_and_consistent(device: Device) -> None:
    """Half the bytes, twice the products; four times would be a sparse or half-accumulated peak."""
    peaks = device.flops
    assert peaks["float32"] < peaks["float16"]
    assert peaks.get("bfloat16", peaks["float16"]) == peaks["float16"]
    for short in {"float8", "int8"} & peaks.keys():
        assert peaks[short] / peaks["float16"] == pytest.approx(2, rel=0.02) or (
            device.name == "mi250x"  # multiplies int8 no faster than float16
        )


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_a_product_needs_many_flops_a_byte(device: Device) -> None:
    """The ridge of the roofline lies at 20 to 420 FLOPs a byte on every card of ten years."""
    assert 20 < device.flops["float16"] / device.bandwidth < 420


@pytest.mark.parametrize(
    ("name", "stated"), [("a100-80gb", 80), ("l40s", 48), ("t4", 16), ("rtx-4090", 24)]
)
def test_a_program_gets_less_than_the_box_says(name: str, stated: int) -> None:
    assert 0.9 * stated < find_device(name).memory / 2**30 < stated


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("H100", "h100"),
        ("h100-sxm", "h100"),
        ("a100", "a100-80gb"),
        ("A100 80GB PCIe", "a100-80gb-pcie"),
        ("4090", "rtx-4090"),
        ("RTX_4090", "rtx-4090"),
        ("3060", "rtx-3060-12gb"),
    ],
)
def test_devices_by_the_names_people_use(written: str, name: str) -> None:
    assert find_device(written).name == name


@pytest.mark.parametrize(("written", "meant"), [("h10", "h100"), ("rtx4090", "rtx-4090")])
def test_an_unknown_device_gets_the_ones_like_it(written: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_device(written)
    assert meant in caught.value.fix


def test_a_name_like_none_gets_the_whole_list() -> None:
    with pytest.raises(UsageError) as caught:
        find_device("§§§")
    assert "known: cpu, t4" in caught.value.fix


@pytest.mark.parametrize("name", ["t4", "v100", "p100", "rtx-2080-ti"])
def test_cards_before_ampere_multiply_no_bfloat16(name: str) -> None:
    with pytest.raises(UsageError, match="lacks bfloat16") as caught:
        find_device(name).peak("bfloat16")
    assert "float16" in caught.value.fix


def test_nodes_are_full() -> None:
    device = find_device("h100")
    assert [Cluster(device, n).nodes for n in (1, 4, 8, 16, 1024)] == [1, 1, 1, 2, 128]
    assert [Cluster(device, n).in_node for n in (1, 4, 8, 16)] == [1, 4, 8, 8]


@pytest.mark.parametrize("devices", [0, -8, 12, 1001])
def test_impossible_counts_are_refused(devices: int) -> None:
    with pytest.raises(UsageError):
        Cluster(find_device("h100"), devices)


def test_this_machine_before_it_was_measured(cache: Path) -> None:
    device = this_cpu()
    assert device.is_cpu
    assert not device.measured
    assert device.memory > 2**28
    assert device.peak("float32") > 0
    assert device.peak("bfloat16") > 0


def test_this_machine_as_it_was_measured(cache: Path) -> None:
    stored = calibration(machine_key())
    store_calibration(stored)
    device = find_device("cpu")
    assert device.measured == stored.date
    assert (device.flops, device.bandwidth) == (stored.flops, stored.bandwidth)
    assert device.overhead == stored.overhead


def test_another_machines_measurement_is_not_this_ones(cache: Path) -> None:
    store_calibration(calibration("another processor, 64 threads"))
    assert not this_cpu().measured


@pytest.mark.parametrize("text", ["", "{", "[]", '{"flops": 1}', '{"machine": "x", "new": 2}'])
def test_a_damaged_measurement_is_none(text: str, cache: Path) -> None:
    calibration_path().write_text(text, encoding="utf-8")
    assert not this_cpu().measured


def test_a_measurement_is_read_without_torch(cache: Path) -> None:
    store_calibration(calibration(machine_key()))
    code = (
        "import sys; from luthier.planning.hardware import find_device; "
        "print(find_device('cpu').measured, 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["2026-01-01", "False"]


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-16GB", "v100-16gb"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100-PCIE-40GB", "a100-40gb-pcie"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("NVIDIA L40S", "l40s"),
        ("AMD Instinct MI300X", "mi300x"),
    ],
)
def test_a_device_is_known_by_what_its_driver_calls_it(product: str, name: str) -> None:
    found = device_of_product(product)
    assert found
    assert found.name == name


def test_an_unknown_product_is_none() -> None:
    assert device_of_product("Voodoo 2") is None


@pytest.mark.parametrize(
    ("flags", "is_fast"),
    [
        ("flags\t\t: fpu avx2 fma avx512f", False),
        ("flags\t\t: fpu avx2 fma avx512f avx512_bf16", True),
        ("flags\t\t: fpu avx512f amx_bf16 amx_tile amx_int8", True),
        ("Features\t: fp asimd sve i8mm bf16", True),
        ("Features\t: fp asimd sve svebf16x", False),
        ("bugs\t\t: bf16", False),
        ("", False),
    ],
)
def test_a_cpu_that_was_not_measured_is_taken_for_what_it_says_of_itself(
    flags: str, is_fast: bool, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundredth of float32 was planned where auto chose bfloat16: hours for a minute."""
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nmodel name\t: Some CPU: fast\n{flags}\n")
    monkeypatch.setattr("luthier.planning.hardware._CPU_INFO", info)
    device = this_cpu()
    assert device.is_guessed
    assert (device.flops["bfloat16"] > device.flops["float32"]) == is_fast
    assert usual_precision(device) == ("bf16-mixed" if is_fast else "float32")
    assert machine_key().startswith("Some CPU: fast, ")
    store_calibration(calibration(machine_key()))
    assert not this_cpu().is_guessed


def test_the_planner_and_torch_agree_on_what_this_cpu_multiplies() -> None:
    import torch

    from luthier.models.device import has_fast_bfloat16

    assert multiplies_bfloat16() == has_fast_bfloat16(torch.device("cpu"))


@pytest.mark.parametrize(
    ("planned", "took", "is_doubted"),
    [
        (5340.0, 54.0, True),
        (54.0, 5340.0, True),
        (100.0, 60.0, False),
        (60.0, 100.0, False),
        (3.0, 0.2, False),
        (None, 54.0, False),
        (54.0, None, False),
    ],
)
def test_a_planned_time_that_cannot_have_been_right_is_noticed(
    planned: float | None, took: float | None, is_doubted: bool
) -> None:
    plan = MeasuredPlan(predicted_bytes={}, predicted_peak_bytes=1)
    plan = plan.model_copy(update={"predicted_seconds": planned, "measured_seconds": took})
    assert bool(plan.doubt) == is_doubted
    assert not is_doubted or "luthier plan calibrate" in plan.doubt
