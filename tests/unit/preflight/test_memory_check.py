"""What a tuning is planned to take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.api.configuration import configure
from luthier.config import RunConfig
from luthier.config.load import override
from luthier.context.prepare import prepare
from luthier.context.run_context import RunContext
from luthier.context.training_data import training_data
from luthier.core.console import Console
from luthier.distributed.process_group import ProcessGroup
from luthier.models.device import default_device
from luthier.planning.hardware import Calibration, machine_key, store_calibration
from luthier.preflight.job_plan import JobPlan
from luthier.preflight.memory_check import plan_within_memory
from luthier.training.compiling import has_compiler

PEAK = 80e9  # float32


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, so that no real calibration is read or lost."""
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def settings(tiny_llama: Path, quick_settings: dict[str, Any]) -> dict[str, Any]:
    return {**quick_settings, "model.id": str(tiny_llama), "model.dtype": "float32"}


def plan(settings: dict[str, Any], method: Any = "full", processes: int = 1, **changes: Any) -> Any:
    config = configure(None, {**settings, **{k.replace("__", "."): v for k, v in changes.items()}})
    setup: RunContext = prepare(config, Console(quiet=True))
    planned = plan_within_memory(
        setup, method, training_data(setup, method), ProcessGroup(0, processes)
    )
    assert isinstance(planned, JobPlan)
    return planned


def calibrate() -> None:
    flops = {"float32": PEAK, "bfloat16": PEAK / 100}
    store_calibration(Calibration(flops, 1e10, 0.0, "2026-01-01", machine_key()))


def test_a_guessed_peak_is_none(settings: dict[str, Any], cache: None) -> None:
    assert plan(settings).peak_tokens_per_second is None


def test_the_peak_follows_from_the_models_flops(settings: dict[str, Any], cache: None) -> None:
    """Full fine-tuning takes six FLOPs a token for each weight (Kaplan et al. 2020), and attention.

    The output layer's weights count at the trained positions alone.
    """
    calibrate()
    layer = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64
    least, most = 6 * 2 * layer, 6 * (2 * layer + 2048 * 32)
    assert PEAK / most < plan(settings).peak_tokens_per_second < PEAK / least


def test_what_is_computed_again_is_not_counted(settings: dict[str, Any], cache: None) -> None:
    calibrate()
    again = plan(settings, train__activation_checkpointing=True)
    assert again.peak_tokens_per_second == plan(settings).peak_tokens_per_second


def test_frozen_weights_need_fewer_flops(settings: dict[str, Any], cache: None) -> None:
    calibrate()
    full, lora = (
        plan(settings, method, methods__lora__rank=1).peak_tokens_per_second
        for method in ("full", "lora")
    )
    assert full < lora < 2 * full


def test_processes_share_a_cpu(settings: dict[str, Any], cache: None) -> None:
    calibrate()
    one, two = (plan(settings, processes=processes).peak_tokens_per_second for processes in (1, 2))
    assert two == one


@pytest.mark.parametrize(
    ("model", "settings", "keeps"),
    [
        ("tiny_llama", {}, True),
        ("tiny_llama", {"methods.last-layers.cache": False}, False),
        ("tiny_llama", {"train.epochs": 1}, False),
        ("tiny_llama", {"methods.last-layers.layers": 2}, False),
        ("tiny_t5", {}, False),
    ],
)
def test_what_frozen_layers_gave_is_counted_where_it_is_kept(
    model: str,
    settings: dict[str, Any],
    keeps: bool,
    quick_settings: dict[str, Any],
    request: pytest.FixtureRequest,
) -> None:
    folder: Path = request.getfixturevalue(model)
    chosen = {"model.id": str(folder), "model.dtype": "float32", "methods.last-layers.layers": 1}
    config = override(RunConfig(), quick_settings | chosen | settings)
    setup = prepare(config, Console(quiet=True))
    data = training_data(setup, "last-layers")
    plan = plan_within_memory(setup, "last-layers", data)
    assert plan is not None
    tokens = sum(len(example.input_ids) for example in data.train)
    assert plan.memory.cache == (tokens * 32 * 4 if keeps else 0)


def test_a_packed_row_attends_under_a_mask(settings: dict[str, Any], cache: None) -> None:
    """Rows of the same lengths need none; the virtual tokens of a prompt keep rows apart."""
    packed, rows = (plan(settings, "lora", train__packing=packs).memory for packs in (True, False))
    assert packed.activations > rows.activations
    packed, rows = (
        plan(settings, "prompt-tuning", train__packing=packs).memory for packs in (True, False)
    )
    assert packed.activations == rows.activations


def test_layers_are_compiled_where_it_is_asked_for(settings: dict[str, Any], cache: None) -> None:
    calibrate()
    compiled, plain = (plan(settings, train__compile=wanted) for wanted in (True, False))
    assert compiled.compiled
    assert not plain.compiled
    assert compiled.memory.framework.low > plain.memory.framework.low
    assert not plan(settings).compiled  # seconds long


@pytest.mark.skipif(not has_compiler(default_device()), reason="there is no compiler")
def test_layers_are_compiled_in_a_long_training(settings: dict[str, Any], cache: None) -> None:
    calibrate()
    assert plan(settings, train__epochs=1e8).compiled
    again = {"train__activation_checkpointing": "full"}
    assert not plan(settings, train__epochs=1e8, **again).compiled
    assert not plan(settings, train__epochs=1e8, processes=2).compiled
