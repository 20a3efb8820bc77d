"""`plan` and `tune` offer the same: the whole product of choices, in both directions."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from luthier.cli.main import run
from luthier.config import RunConfig, load_config
from luthier.config.methods import Quantisation
from luthier.core.choices import Checkpointing, Dtype, OptimizerName, Parallelism
from luthier.core.errors import UsageError
from luthier.core.method_facts import FACTS, METHOD_NAMES, MethodName
from luthier.distributed.process_group import ProcessGroup
from luthier.methods import method_for
from luthier.planning import training_setup as setup
from luthier.planning.families import read_architecture
from luthier.planning.from_config import tuning_of
from luthier.planning.methods import METHODS, tuning_called
from luthier.planning.model_config import find_config
from luthier.planning.plan_request import PlanRequest
from luthier.planning.planner import advice, best_plans, generation, plan
from luthier.planning.runnable import Wanted, tune_run
from luthier.planning.sizes import Size
from luthier.planning.training_setup import PRECISIONS, QUANTISED
from luthier.training.optimizer import require_optimizer

GPT2 = "openai-community/gpt2"
PARAMETERS = {"selective": Size(parameters=("mlp", "ln_"))}
# What decides neither what is trained nor the memory that it takes.
NOT_A_SIZE = {"learning_rate", "weight_decay", "epochs", "alpha", "initial_text", "cache"}
NOT_A_SIZE |= {"start", "tfinal_fraction", "prune_every", "orth_reg_weight"}
# Follows from another choice of the plan: --precision, --rank.
FROM_ANOTHER = {"quantisation", "final_rank"}


def ways(method: str) -> Any:
    """Every plan of a method on one device and on eight, as the planner's own types have them."""
    everything = itertools.product(
        get_args(setup.PrecisionName),
        get_args(setup.OptimizerName),
        get_args(setup.ParallelName),
        get_args(setup.Checkpointing),
        (False, True),
        (False, True),
    )
    for precision, optimizer, parallel, checkpointing, on_cpu, compiled in everything:
        if FACTS[method].trains_base and PRECISIONS[precision].linear:
            continue  # refused by the plan itself
        is_single = parallel == "single"
        yield Wanted(
            method=method,
            precision=precision,
            compute="fp16-mixed" if precision == "fp16-mixed" else "bf16-mixed",
            optimizer=optimizer,
            parallel=parallel,
            group=0 if is_single else 4,
            checkpointing=checkpointing,
            devices=1 if is_single else 8,
            on_cpu=on_cpu,
            size=PARAMETERS.get(method, Size()),
            compiled=compiled,
        )


def refusal(config: RunConfig, wanted: Wanted) -> str:
    """Why `tune` would refuse a configuration; empty: it takes it. Its own rules, none of these."""
    from luthier.models.quantised import require_quantisation

    device = torch.device("cpu" if wanted.on_cpu else "cuda")
    try:
        require_optimizer(config.train, device, ProcessGroup(0, wanted.devices))
    except UsageError as error:
        return error.problem
    method, train = method_for(config.method, config.methods), config.train
    base = config.base_of(config.method)
    if base.quantisation:
        require_quantisation()
    rules = {
        "shards": train.shards(wanted.devices) and not method.facts.shardable,
        "int8 in shards": train.shards(wanted.devices) and base.quantisation == "int8",
        "compiled shards": train.shards(wanted.devices) and train.compile is True,
        "compiled dropout": train.compile is True and config.method_config.drops,
        "recomputed": train.activation_checkpointing != "none" and not method.facts.recomputable,
        "float16": base.dtype == "float16" and not train.master_weights,
        "quantised base": FACTS[config.method].trains_base and base.quantisation is not None,
    }
    return ", ".join(name for name, is_refused in rules.items() if is_refused)


@pytest.mark.parametrize("method", METHODS)
def test_whatever_a_plan_proposes_tune_takes_or_the_plan_says_that_it_cannot(method: str) -> None:
    configurations: dict[tuple[str, ...], RunConfig] = {}
    run, lacking = 0, 0
    for wanted in ways(method):
        found = tune_run(wanted)
        assert found.can == (not found.missing)
        lacking += not found.can
        if not found.can:
            continue
        run += 1
        if found.settings not in configurations:
            configurations[found.settings] = load_config(None, list(found.settings))
        config = configurations[found.settings]
        assert not refusal(config, wanted), (found.settings, wanted)
        assert config.train.optimizer == wanted.optimizer
        assert config.train.activation_checkpointing == wanted.checkpointing
    assert run
    assert lacking


def test_every_choice_of_tune_can_be_planned() -> None:
    """The other way round: no name of the configuration is unknown to the planner."""
    assert {*METHODS, "qlora"} == {*METHOD_NAMES}
    assert {*get_args(OptimizerName)} <= {*get_args(setup.OptimizerName)}
    assert {*get_args(Parallelism)} <= {*get_args(setup.ParallelName)}
    assert {*get_args(Checkpointing)} == {*get_args(setup.Checkpointing)}
    types = {PRECISIONS[name].dtype for name in get_args(setup.PrecisionName)}
    assert {*get_args(Dtype)} - {"auto"} == types
    assert {*QUANTISED} == {*get_args(Quantisation)}


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_every_size_of_a_method_is_an_option_of_plan_or_its_help_says_who_plans_it(
    method: MethodName, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {*type(RunConfig().methods.of(method)).model_fields}
    left = fields - NOT_A_SIZE - FROM_ANOTHER - {*FACTS[method].sizes.values()}
    assert run(["plan", "estimate", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    said = shown[shown.index("tune --dry-run") :] if left else ""
    assert all(name in said.partition("─ Model")[0] for name in left), left


@pytest.mark.parametrize("method", METHODS)
def test_a_plan_without_sizes_is_that_of_tunes_defaults(method: Any) -> None:
    values, source = find_config(GPT2, None)
    model = read_architecture(values, source)
    if method == "selective":
        pytest.skip("it has no default")
    assert tuning_called(method, model, Size()) == tuning_of(method, RunConfig().methods, model)


SIZED = [
    ("lora", Size(rank=4, targets=("c_attn",))),
    ("rslora", Size(targets=r".*\.h\.[01]\..*c_fc")),
    ("dora", Size(exclude_modules=("c_proj",))),
    ("adalora", Size(rank=6)),
    ("qlora", Size(rank=3, targets=("c_attn", "c_fc"), exclude_modules=r".*\.0\..*")),
    ("vera", Size(rank=32, targets=("c_fc",))),
    ("ia3", Size(targets=("c_attn",))),
    ("adapters", Size(bottleneck=7)),
    ("last-layers", Size(last_layers=3)),
    ("selective", Size(parameters=("mlp", r"ln_\d"))),
    ("prompt-tuning", Size(virtual_tokens=5)),
    ("prefix-tuning", Size(virtual_tokens=5)),
    ("p-tuning", Size(virtual_tokens=5)),
]


@pytest.mark.parametrize(("method", "size"), SIZED, ids=[name for name, _ in SIZED])
def test_sizes_go_into_the_plan_and_into_its_settings(method: Any, size: Size) -> None:
    """The settings that a plan prints train what the plan counts."""
    found = plan(PlanRequest(GPT2, "t4", method=method, **size.given))
    assert found.tune.can
    config = load_config(None, list(found.tune.settings))
    values, source = find_config(GPT2, None)
    model = read_architecture(values, source)
    assert config.method == method
    asked = tuning_called(method, model, size)
    assert tuning_of(config.method, config.methods, model) == asked
    if method != "selective":
        assert plan(PlanRequest(GPT2, "t4", method=method)).trained_parameters != (
            found.trained_parameters
        )


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("full", {"rank": 4}),
        ("lora", {"virtual_tokens": 4}),
        ("prompt-tuning", {"rank": 4}),
        ("adapters", {"targets": ("c_attn",)}),
        ("bitfit", {"bottleneck": 3}),
        ("lora", {"parameters": ("mlp",)}),
        ("qlora", {"last_layers": 3}),
    ],
)
def test_a_size_that_a_method_would_ignore_is_refused(method: str, given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="does not use --"):
        plan(PlanRequest(GPT2, "t4", method=method, **given))


@pytest.mark.parametrize("method", ["lora", "qlora", "dora", "vera", "ia3"])
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"targets": ("c_attn", "q_proj")}, "q_proj"),
        ({"targets": r".*\.q_proj"}, "q_proj"),
        ({"exclude_modules": ("nothing",)}, "nothing"),
    ],
)
def test_a_target_that_names_nothing_is_refused_by_the_plan_too(
    method: str, given: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        plan(PlanRequest(GPT2, "t4", method=method, **given))


@pytest.mark.sample(16)
@pytest.mark.parametrize("hardware", ["t4", "a100-40gb", "rtx-4090", "cpu"])
@pytest.mark.parametrize("method", [*METHODS, "qlora", "any"])
def test_searches_and_advice_keep_the_sizes_and_name_what_runs(method: str, hardware: str) -> None:
    sizes: dict[str, dict[str, Any]] = {
        "selective": {"parameters": ("mlp",)},
        "lora": {"rank": 3},
    }
    size = sizes.get(method, {})
    question = PlanRequest("gpt2", hardware, method=method, seq_len=64, **size)
    for found in best_plans(question).best[:2]:
        if found.tune.can:
            load_config(None, list(found.tune.settings))
    said = str(advice(replace(question, model="llama-3.1-70b", seq_len=2048, parameters=())))
    assert "lion" not in said
    assert "zero" not in said


@pytest.mark.parametrize("hardware", ["t4", "v100", "rtx-4090"])
def test_what_is_asked_as_qlora_is_called_qlora(
    hardware: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan of qlora was shown as lora, and advice as ``Try lora in nf4-double``."""
    assert run(["plan", "llama-3.1-8b", "--hardware", hardware, "--method", "qlora"]) == 0
    assert "choice  qlora, nf4-double + " in capsys.readouterr().out
    said = str(advice(PlanRequest("llama-3.1-8b", hardware, method="full")))
    assert "Try qlora in nf4-double + " in said


@pytest.mark.parametrize("kind", ["none", "selective", "full"])
def test_what_is_computed_again_is_not_planned_as_kept(kind: Any) -> None:
    """A planner that ignored the kind of checkpointing let 107 GB through as 6 (ART#913)."""
    sizes = {
        name: plan(
            PlanRequest("llama-3.1-8b", "h100", seq_len=4096, checkpointing=name)
        ).memory.activations
        for name in ("none", "selective", "full")
    }
    assert sizes["full"] < sizes["selective"] < sizes["none"]
    assert sizes[kind] > 0


def test_frozen_parameters_have_no_states() -> None:
    """DeepSpeed's estimates count them as trained (DeepSpeed#5304)."""
    found = plan(PlanRequest("llama-3.1-8b", "h100"))
    assert found.memory.optimizer == 8 * found.trained_parameters


def test_logits_grow_with_the_vocabulary_and_not_with_the_length() -> None:
    """All of them at once are what runs out of memory elsewhere (trl#3678, Automodel#3907)."""
    at_the_loss = {
        (model, length): plan(PlanRequest(model, "h100", seq_len=length)).memory.logits
        for model in ("llama-2-7b", "llama-3.1-8b")
        for length in (512, 1024)
    }
    assert at_the_loss["llama-3.1-8b", 512] > 2 * at_the_loss["llama-2-7b", 512]
    assert at_the_loss["llama-3.1-8b", 1024] < 1.5 * at_the_loss["llama-3.1-8b", 512]


def test_generation_is_planned_on_one_device() -> None:
    with pytest.raises(UsageError, match="planned on one device"):
        generation(PlanRequest("gpt2", hardware="h100", devices=8))
