"""The table of what `tune` can run agrees with the configuration and with tune's own rules."""

from __future__ import annotations

import itertools
import json
import shlex
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from luthier.cli.main import run
from luthier.config import RunConfig, load_config
from luthier.config.methods import Quantisation
from luthier.config.model import ModelConfig
from luthier.config.train import TrainConfig
from luthier.core.errors import UsageError
from luthier.core.method_facts import FACTS, METHOD_NAMES
from luthier.core.units import format_bytes
from luthier.distributed.process_group import ProcessGroup
from luthier.methods import method_for
from luthier.planning.commands import tune_command
from luthier.planning.hardware import catalogue, find_device
from luthier.planning.methods import METHODS
from luthier.planning.plan_request import PlanRequest
from luthier.planning.planner import advice, best_plans, largest_plans, plan, smallest_plans
from luthier.planning.precision import usual_precision
from luthier.planning.runnable import (
    SHARDED_OPTIMIZERS,
    Wanted,
    precision_settings,
    tune_run,
)
from luthier.planning.sizes import Size
from luthier.planning.training_setup import (
    PRECISIONS,
    QUANTISED,
    Checkpointing,
    OptimizerName,
    ParallelName,
    PrecisionName,
)
from luthier.training.optimizer import _KINDS, require_optimizer

GPT2 = "openai-community/gpt2"
USUAL = Wanted(
    method="lora",
    precision="bf16-mixed",
    compute="bf16-mixed",
    optimizer="adamw",
    parallel="single",
    group=0,
    checkpointing="none",
    devices=1,
    on_cpu=False,
    size=Size(),
)
EIGHT = replace(USUAL, parallel="ddp", devices=8, group=4)
WAYS = [
    *(replace(USUAL, method=name) for name in METHODS),
    *(
        replace(EIGHT, method=method, parallel=parallel, precision=precision)
        for method, parallel, precision in itertools.product(
            METHODS, get_args(ParallelName), get_args(PrecisionName)
        )
        if parallel != "single" and not (FACTS[method].trains_base and PRECISIONS[precision].linear)
    ),
    *(
        replace(EIGHT, optimizer=optimizer, parallel=parallel, precision=precision, on_cpu=on_cpu)
        for optimizer, parallel, precision, on_cpu in itertools.product(
            get_args(OptimizerName), ("ddp", "fsdp"), ("float32", "bf16-pure"), (False, True)
        )
    ),
    *(
        replace(USUAL, method=method, checkpointing=kind)
        for method, kind in itertools.product(METHODS, get_args(Checkpointing))
    ),
]


def values_of(config: type[Any], field: str) -> set[str]:
    """The words that a setting may have, whatever beside them."""

    def words(annotation: Any) -> set[str]:
        parts = get_args(annotation)
        nested = (words(part) for part in parts if not isinstance(part, str))
        return {part for part in parts if isinstance(part, str)}.union(*nested)

    return words(config.model_fields[field].annotation)


@pytest.mark.sample(100)
@pytest.mark.parametrize("wanted", WAYS, ids=map(str, range(len(WAYS))))
def test_what_tune_is_said_to_run_is_a_configuration_that_no_rule_of_tune_refuses(
    wanted: Wanted,
) -> None:
    found = tune_run(wanted)
    if not found.can:
        return
    config = load_config(None, list(found.settings))
    processes = ProcessGroup(0, wanted.devices)
    device = torch.device("cpu" if wanted.on_cpu else "cuda")
    require_optimizer(config.train, device, processes)
    method = method_for(config.method, config.methods)
    assert method.facts.shardable or not config.train.shards(wanted.devices)
    assert method.facts.recomputable or config.train.activation_checkpointing == "none"
    assert is_what_was_planned(config, wanted)


def is_what_was_planned(config: RunConfig, wanted: Wanted) -> bool:
    """Whether the settings lead to the plan's own axes."""
    quantisation = config.base_of(config.method).quantisation
    is_quantised = bool(PRECISIONS[wanted.precision].linear)
    same_base = (QUANTISED[quantisation] == wanted.precision) if quantisation else not is_quantised
    return (
        same_base
        and config.method
        == ("qlora" if is_quantised and wanted.method == "lora" else wanted.method)
        and config.train.optimizer == wanted.optimizer
        and config.train.activation_checkpointing == wanted.checkpointing
        and (wanted.devices == 1 or config.train.parallelism in {wanted.parallel, "fsdp"})
    )


def test_what_tune_lacks_is_not_in_the_configurations_types() -> None:
    """Each axis: the planner's names that tune lacks, and those that the setting does not take."""
    optimizers = values_of(TrainConfig, "optimizer")
    for name in get_args(OptimizerName):
        assert tune_run(replace(USUAL, optimizer=name)).can == (name in optimizers)
    parallelism = values_of(TrainConfig, "parallelism") | {"hybrid"}
    for name in set(get_args(ParallelName)) - {"single"}:
        assert tune_run(replace(EIGHT, parallel=name)).can == (name in parallelism)
    kinds = values_of(TrainConfig, "activation_checkpointing")
    for name in get_args(Checkpointing):
        assert tune_run(replace(USUAL, checkpointing=name)).can == (name in kinds)
    types = values_of(ModelConfig, "dtype") | values_of(
        TrainConfig, "precision" if "precision" in TrainConfig.model_fields else "optimizer"
    )
    for name in get_args(PrecisionName):
        if not PRECISIONS[name].linear:
            has = bool({PRECISIONS[name].dtype, name} & types)
            assert (precision_settings(name) is not None) == has, name
    assert set(QUANTISED) == set(get_args(Quantisation))
    assert set(METHODS) | {"qlora"} == set(FACTS) == set(METHOD_NAMES)


def test_the_rules_are_those_of_the_methods_and_optimizers() -> None:
    methods = {name: method_for(name, RunConfig().methods) for name in METHOD_NAMES}
    assert all(methods[name].facts is facts for name, facts in FACTS.items())
    assert {name for name, kind in _KINDS.items() if kind.shards} == SHARDED_OPTIMIZERS


@pytest.mark.parametrize(
    ("changed", "lacks"),
    [
        ({"optimizer": "lion"}, "lion"),
        ({"parallel": "zero1", "devices": 2, "hardware": "a100"}, "zero1"),
        ({"parallel": "zero3", "devices": 2, "hardware": "a100"}, "zero3"),
        ({"offload": True, "hardware": "a100"}, "offload"),
        ({"shard_embeddings": True}, "shard-embeddings"),
        ({"update_in_backward": True}, "update in backward"),
        ({"loss_chunks": 2}, "loss in chunks"),
        ({"precision": "nf4"}, "nf4"),
        ({"precision": "int8", "parallel": "fsdp", "devices": 2, "hardware": "a100"}, "int8"),
        ({"optimizer": "adamw-8bit", "parallel": "fsdp", "devices": 2, "hardware": "a100"}, "8bit"),
        ({"optimizer": "paged-adamw-8bit"}, "on a CPU"),
        ({"method": "adalora", "parallel": "fsdp", "devices": 2, "hardware": "a100"}, "adalora"),
        ({"method": "prefix-tuning", "checkpointing": "full"}, "checkpointing"),
    ],
)
def test_a_plan_names_what_tune_lacks(changed: dict[str, Any], lacks: str) -> None:
    question = PlanRequest(GPT2, **changed)
    assert lacks in " ".join(plan(question).tune.missing)


@pytest.mark.parametrize("hardware", ["t4", "v100", "p100", "rtx-2080-ti", "a100", "cpu"])
@pytest.mark.parametrize("method", ["lora", "qlora", "full", "any"])
def test_a_plan_that_tune_lacks_never_comes_before_one_that_it_has(
    hardware: str, method: str
) -> None:
    found = best_plans(PlanRequest(GPT2, hardware=hardware, method=method, seq_len=128)).best
    assert found
    lacking = [not one.tune.can for one in found]
    assert lacking == sorted(lacking)


def test_the_smallest_hardware_and_the_largest_model_are_those_that_tune_can_use() -> None:
    found = smallest_plans(PlanRequest(GPT2, hardware="any", method="qlora"))
    lacking = [not one.tune.can for _, one in found]
    assert lacking == sorted(lacking)
    ((_, largest),) = largest_plans(PlanRequest("any", hardware="rtx-4090", method="qlora"))
    assert largest.tune.can


@pytest.mark.parametrize(
    "question",
    [
        PlanRequest("llama-3.1-8b", "rtx-4090", method="full"),
        PlanRequest("llama-3.1-8b", "rtx-4090", method="full", optimizer="lion"),
        PlanRequest("llama-3.1-8b", "t4", method="full"),
        PlanRequest("llama-3.1-70b", "h100", devices=8, seq_len=4096, global_batch_size=64),
        PlanRequest("llama-3.1-70b", "h100", devices=8, parallel="zero1"),
        PlanRequest("llama-3.1-70b", "t4", method="lora"),
    ],
    ids=lambda question: f"{question.model} {question.hardware} {question.method}",
)
def test_advice_names_only_what_tune_can_run(question: PlanRequest) -> None:
    said = str(advice(question))
    for word in ("offload", "shard-embeddings", "zero", "lion", "adamw-foreach", "loss-chunks"):
        assert word not in said
    if precision_settings("fp16-mixed") is None:
        assert "fp16" not in said
        assert "float16" not in said.replace("bfloat16", "")


@pytest.mark.parametrize(
    "question",
    [
        PlanRequest("llama-3.1-8b", "rtx-4090", method="full", tokens=1e7),
        PlanRequest("llama-3.1-8b", "h200", method="full"),
        PlanRequest("llama-3.1-8b", "l4", seq_len=800, targets=("q_proj", "v_proj"), rank=4),
        PlanRequest("llama-3.1-70b", "h100", devices=8, seq_len=4096, global_batch_size=64),
        PlanRequest("llama-3.1-70b", "h100", devices=8, parallel="ddp"),
    ],
    ids=lambda question: f"{question.model} {question.hardware} {question.method}",
)
def test_the_command_that_is_advised_gives_the_figures_beside_it(
    question: PlanRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    suggested = advice(question, 2.0)
    program, *words = suggested.command
    assert program == "luthier"
    assert run([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "fits"
    assert found["tune_can_run"]
    assert f"{format_bytes(found['device_bytes'])}, " in suggested.sentence
    assert f"{found['tokens_per_second']:,.0f} tokens/s" in suggested.sentence


def test_where_nothing_fits_the_command_finds_devices(capsys: pytest.CaptureFixture[str]) -> None:
    _, *words = advice(PlanRequest("llama-3.1-70b", "t4")).command
    assert run(words) == 0
    assert "It fits on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("question", "starts", "ends"),
    [
        (PlanRequest("gpt2", "t4"), "luthier tune --model openai-community/gpt2 method=lora", ""),
        (PlanRequest("gpt2", "h100", devices=8), "luthier tune", " --nproc 8"),
        (
            PlanRequest("gpt2", "h100", devices=16),
            "luthier launch model.id=openai-community/gpt2 method=lora",
            " --nodes 2 --gpus 8 --accelerator H100",
        ),
        (PlanRequest("gpt2", "cpu", devices=1024), "luthier launch", " --nodes 1024 --gpus 0"),
        (PlanRequest("smollm2-135m-instruct", "t4"), "luthier tune --model smollm2-135m-in", ""),
    ],
)
def test_the_command_that_trains_a_plan_starts_as_many_processes_as_a_machine_has_devices(
    question: PlanRequest, starts: str, ends: str
) -> None:
    """A plan of 1,024 devices said ``--nproc 1024``, which are processes on one machine."""
    command = shlex.join(tune_command(question.model, plan(question)))
    assert command.startswith(starts)
    assert command.endswith(ends)
    settings = [word for word in shlex.split(command) if "=" in word]
    assert load_config(None, settings).method == "lora"


@pytest.mark.parametrize("device", catalogue().values(), ids=lambda device: device.name)
def test_qlora_and_lora_are_planned_on_every_card_in_a_type_that_it_has(device: Any) -> None:
    short = "bfloat16" if "bfloat16" in device.flops else "float16"
    for method, precision in (("qlora", "nf4-double"), ("lora", usual_precision(device))):
        found = plan(PlanRequest(GPT2, device.name, method=method, seq_len=64))
        assert (found.precision, found.computes_in) == (precision, short)
        assert device.flops[found.computes_in] == found.step.peak


@pytest.mark.parametrize("name", ["t4", "v100", "p100", "rtx-2080-ti"])
@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-pure"])
def test_a_missing_type_is_named_with_one_that_runs(name: str, method: str, precision: str) -> None:
    with pytest.raises(UsageError, match="lacks bfloat16") as caught:
        plan(PlanRequest(GPT2, name, method=method, precision=precision))
    runs = "fp16-mixed" if precision_settings("fp16-mixed") is not None else "float32"
    assert caught.value.fix == f"use --precision {runs}"
    assert caught.value.problem.startswith(find_device(name).title)


def test_the_precision_beside_a_quantised_base_can_be_chosen() -> None:
    """The name of the method is never dropped for a precision that is not quantised."""
    for given, computes in (("fp16-mixed", "float16"), ("float32", "float32")):
        found = plan(PlanRequest(GPT2, "t4", method="qlora", precision=given))
        assert (found.precision, found.computes_in) == ("nf4-double", computes)
    half = plan(PlanRequest(GPT2, "t4", method="qlora")).memory
    whole = plan(PlanRequest(GPT2, "t4", method="qlora", precision="float32")).memory
    assert whole.activations > 1.3 * half.activations
    assert whole.weights > half.weights


@pytest.mark.parametrize("method", ["bitfit", "adapters"])
def test_a_method_that_finds_nothing_to_train_is_refused(method: str) -> None:
    """Llama's linear layers have no biases."""
    question = PlanRequest("llama-3.1-8b", "h100", method=method)
    if method == "bitfit":
        with pytest.raises(UsageError, match="nothing to train"):
            plan(question)
    else:
        assert plan(question).trained_parameters


@pytest.mark.parametrize("hardware", ["rtx-4090", "a100-40gb", "t4"])
def test_the_verdict_has_three_states_by_the_ends_of_the_estimate(hardware: str) -> None:
    found = plan(PlanRequest("llama-3.1-8b", hardware, method="qlora"))
    interval = found.memory.total_interval
    limits = {
        interval.high: "fits",
        interval.high - 1: "may not fit",
        interval.expected: "may not fit",
        interval.expected - 1: "does not fit",
    }
    for limit, verdict in limits.items():
        assert replace(found, limit=limit).verdict == verdict
