"""Several processes train as one does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.command_server import PATIENCE_SECONDS
from tests.distributed.conftest import Training, free_port

from luthier.core.method_facts import METHOD_NAMES, MethodName

Make = Callable[..., Training]
TOLERANCE = 1e-5
# AdaLoRA is not sharded; the models with biases, for BitFit, drop at random in each process.
LEFT = {"lora", "full", "last-layers", "qlora", "adalora", "bitfit", "prompt-tuning"}
OTHERS = [name for name in METHOD_NAMES if name not in LEFT]
ZERO2 = {"train.parallelism": "zero2"}
INT8 = {"methods.qlora.quantisation": "int8"}
# 8 general texts are mixed into 32 examples, and the loss on others is watched.
REPLAYED = {
    "data.replay": 0.2,
    "evaluate.general_tokens": 400,
    "train.num_validations": 5,
    "train.guards.max_forgetting": 1,
}


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("lora", {}),
        ("full", {}),
        ("full", {"train.packing": True}),
        ("full", {"train.neftune_alpha": 5}),
        # Frozen layers are computed once, but not where each pass gathers their weights.
        ("last-layers", {"methods.last-layers.layers": 1}),
        # What decodes the weights is whole in each process, the weights are not.
        ("qlora", {}),
        # What is saved is computed, from whole weights.
        ("prompt-tuning", {}),
    ],
)
def test_two_ranks_are_as_one(method: str, settings: dict[str, Any], training: Make) -> None:
    """Twenty steps in float32."""
    alone, runs = trained_alone_and_together(training, method, settings)
    assert len(alone.losses) == 20
    assert alone.losses[-1] < alone.losses[0]
    assert_the_same(runs, alone)


def test_two_ranks_draw_from_a_mixture_as_one(training: Make, tmp_path: Path) -> None:
    """Twenty steps of draws from two sources, of which the smaller is repeated."""
    rows = [{"prompt": f"{n} times {n % 3} is", "completion": "x" * (1 + n % 4)} for n in range(20)]
    (tmp_path / "few.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sources = "sources: [{source: rows.jsonl}, {source: few.jsonl}]\n"
    (tmp_path / "mix.yaml").write_text(f"{sources}rates: equal\ndraws: 80\n")
    settings = {
        "data.source": str(tmp_path / "mix.yaml"),
        "data.num_train": None,
        "data.near_duplicates": "off",
        "train.epochs": 1,
    }
    alone, runs = trained_alone_and_together(training, "full", settings)
    assert len(alone.losses) == 20
    assert alone.record.epochs == 1
    assert_the_same(runs, alone)


@pytest.mark.long
@pytest.mark.parametrize("method", OTHERS)
def test_two_ranks_of_any_method_are_as_one(method: MethodName, training: Make) -> None:
    """Four steps, copied and sharded, the loss on general text watched from the base's on."""
    settings: dict[str, Any] = {
        "train.epochs": 0.5,
        "evaluate.general_tokens": 400,
        "train.guards.max_forgetting": 9,
        "methods.selective.parameters": ["mlp", "norm"],
        "methods.adapters.bottleneck": 8,
        "methods.vera.rank": 8,
    }
    alone, runs = trained_alone_and_together(training, method, settings)
    assert (len(alone.losses), len(alone.rises)) == (4, 1)
    assert_the_same(runs, alone)


@pytest.mark.long
def test_two_ranks_replay_and_watch_as_one(training: Make) -> None:
    """Twenty-five steps, since a fifth of the examples is general text."""
    alone, runs = trained_alone_and_together(training, "lora", REPLAYED)
    assert (len(alone.losses), len(alone.rises)) == (25, 5)
    assert_the_same(runs, alone)


@pytest.mark.long
def test_two_ranks_weigh_examples_as_one(training: Make, tmp_path: Path) -> None:
    """Weights lie unevenly over the processes, and the loss is divided by those of all."""
    rows = [
        {
            "prompt": f"{n} plus {n % 7} is",
            "completion": "x" * (1 + n % 5),
            "weight": (0.5, 1, 4)[n % 3],
        }
        for n in range(40)
    ]
    data = tmp_path / "weighted.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = {"data.source": str(data), "train.epochs": 1}
    alone, runs = trained_alone_and_together(training, "full", settings)
    plain = training("plain", method="full", **{"train.epochs": 1})
    plain.finish()
    assert alone.losses != plain.losses
    assert_the_same(runs, alone)


def trained_alone_and_together(
    training: Make, method: str, settings: dict[str, Any]
) -> tuple[Training, dict[str, Training]]:
    """One process, and by name two with a copy each, and two with half of it each."""
    runs: dict[str, Training] = {}
    for name, processes in (("alone", 1), ("ddp", 2), ("fsdp", 2)):
        layout: dict[str, Any] = {} if name == "alone" else {"train.parallelism": name}
        runs[name] = training(name, method=method, **settings, **layout)
        runs[name].finish(processes)
    return runs.pop("alone"), runs


def assert_the_same(runs: dict[str, Training], alone: Training) -> None:
    for name, run in runs.items():
        assert "Warning" not in run.log
        assert run.losses == pytest.approx(alone.losses, rel=TOLERANCE), name
        assert run.record.total_parameters == alone.record.total_parameters
        assert run.rises == pytest.approx(alone.rises, abs=TOLERANCE), name
        assert run.record.best_validation_loss == pytest.approx(
            alone.record.best_validation_loss, rel=TOLERANCE
        )
        for key, expected in alone.weights().items():
            torch.testing.assert_close(
                run.weights()[key], expected, rtol=0, atol=TOLERANCE, msg=f"{name} {key}"
            )


def test_weights_that_stay_between_the_directions_train_as_one(training: Make) -> None:
    """ZeRO's second stage."""
    settings = {"method": "full", "train.epochs": 0.5}
    alone, together = training("alone", **settings), training("zero2", **settings, **ZERO2)
    alone.finish()
    together.finish(processes=2)
    assert_the_same({"zero2": together}, alone)


def test_a_training_that_forgets_ends_in_all_processes(training: Make) -> None:
    """At a harsh rate the loss on general text falls until step 2, and has risen by 6 at step 4."""
    harsh = {
        "method": "full",
        "methods.full.learning_rate": 0.1,
        "evaluate.general_tokens": 400,
        "train.num_validations": 10,
        "train.guards.max_forgetting": 2,
    }
    run = training("harsh", **harsh, **{"train.parallelism": "fsdp"})
    run.finish(processes=2)
    assert (run.record.stopped, run.record.steps, run.record.best_step) == ("forgetting", 4, 2)
    assert [rise > 2 for rise in run.rises] == [False, True]
    assert "4 of 20 steps, stopped by the guard against forgetting" in run.log


@pytest.mark.long
def test_a_copy_for_each_two_of_four(training: Make) -> None:
    """Hybrid sharding: two groups of two."""
    alone, hybrid = (
        training(name, method="lora", **{"train.epochs": 0.5, **layout})
        for name, layout in (
            ("alone", {}),
            ("hybrid", {"train.parallelism": "fsdp", "train.shard_group": 2}),
        )
    )
    alone.finish()
    hybrid.finish(processes=4)
    assert hybrid.losses == pytest.approx(alone.losses, rel=TOLERANCE)


def test_sharded_bfloat16_is_trained_through_float32(training: Make) -> None:
    """Masters are shards too."""
    half = {"model.dtype": "bfloat16", "method": "full", "train.epochs": 0.5}
    alone = training("alone", **half)
    sharded = training("sharded", **half, **{"train.parallelism": "fsdp"})
    alone.finish()
    sharded.finish(processes=2)
    # Sums of 16-bit gradients depend on who adds them: 8 bits of precision.
    assert sharded.losses == pytest.approx(alone.losses, rel=2**-8)
    assert {value.dtype for value in sharded.weights().values()} == {torch.bfloat16}


def test_shards_are_rounded_at_random(training: Make) -> None:
    """Without masters; the draws are others, and so is the noise."""
    pure = {
        "model.dtype": "bfloat16",
        "method": "full",
        "train.master_weights": False,
        "train.epochs": 0.5,
    }
    alone = training("alone", **pure)
    sharded = training("sharded", **pure, **{"train.parallelism": "fsdp"})
    alone.finish()
    sharded.finish(processes=2)
    assert sharded.losses == pytest.approx(alone.losses, rel=2**-6)
    assert sharded.losses[-1] < sharded.losses[0]


def test_weights_of_eight_bits_are_not_cut(training: Make) -> None:
    run = training("int8", method="qlora", **INT8, **{"train.parallelism": "fsdp"})
    assert run.run(2) == [2, 2]
    assert "int8 layers keep full weights" in run.log
    assert "Traceback" not in run.log


def test_states_that_do_not_end_where_shards_do_are_refused(training: Make) -> None:
    run = training("rows", **{"train.parallelism": "fsdp", "train.optimizer": "adafactor"})
    assert run.run(2) == [2, 2]
    assert "cannot be sharded" in run.log
    assert "Traceback" not in run.log


@pytest.mark.long
def test_two_machines_of_two_processes(training: Make) -> None:
    alone, apart = (training(name, **{"train.epochs": 0.5}) for name in ("alone", "apart"))
    alone.finish()
    meeting = {"NNODES": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    machines = [apart.start(2, **meeting, NODE_RANK=number) for number in "01"]
    assert [machine.wait(PATIENCE_SECONDS) for machine in machines] == [0, 0], apart.log
    assert apart.losses == pytest.approx(alone.losses, rel=TOLERANCE)
    assert apart.log.count("Tuned with") == 1


def test_a_number_of_machines_that_is_none_is_a_users_mistake(training: Make) -> None:
    run = training("two")
    assert run.start(2, NNODES="two").wait(PATIENCE_SECONDS) == 2
    assert "NNODES is 'two', not a number" in run.log
    assert "Traceback" not in run.log


def test_groups_that_do_not_fit_are_a_users_mistake(training: Make) -> None:
    layout = {"train.parallelism": "fsdp", "train.shard_group": 3}
    run = training("three", method="full", **layout)
    assert run.start(2).wait(PATIENCE_SECONDS) == 2
    assert "cannot be divided into groups of 3" in run.log
    assert run.log.count("error:") == 1
    assert "Traceback" not in run.log


@pytest.mark.long
def test_torchrun_by_hand(training: Make) -> None:
    """The same as ``--nproc``, with torch's own launcher."""
    ours, theirs = (training(name, **{"train.epochs": 0.5}) for name in ("ours", "theirs"))
    assert ours.start(2).wait(PATIENCE_SECONDS) == 0, ours.log
    code = theirs.start_with_torchrun(2).wait(PATIENCE_SECONDS)
    assert code == 0, theirs.log
    assert theirs.losses == ours.losses
    assert theirs.log.count("Tuned with") == 1
