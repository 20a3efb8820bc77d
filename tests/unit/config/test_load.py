"""From YAML, overrides and flags to a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from luthier.config import Greedy, LoraConfig, RunConfig, load_config
from luthier.config.load import override, to_yaml
from luthier.core.errors import UsageError
from luthier.records.run_directory import RunDirectory


@pytest.fixture
def config_file(tmp_path: Path) -> Any:
    """Writes a configuration: ``config_file("seed: 1")`` is its path."""

    def write(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return path

    return write


def problem(path: Path | None = None, *overrides: str, **flags: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load_config(path, overrides, flags)
    return caught.value


def test_the_defaults_need_nothing() -> None:
    assert load_config() == RunConfig()


def test_values_of_a_file(config_file: Any) -> None:
    path = config_file(
        "seed: 3\n"
        "train:\n  max_time: 1h30m\n  epochs: 2\n"
        "adapt:\n  memory: 12GiB\n  rungs: [zero-shot, lora]\n"
        "methods:\n  lora:\n    learning_rate: 1e-4\n    targets: [q_proj]\n"
        "  prompt-tuning:\n    virtual_tokens: 4\n"
        "model:\n  revision: 1.0.2\n"
    )
    config = load_config(path)
    assert config.seed == 3
    assert config.train.max_time == 5400
    assert config.adapt.memory == 12 * 2**30
    assert config.adapt.rungs == ("zero-shot", "lora")
    assert config.methods.lora == LoraConfig(learning_rate=1e-4, targets=("q_proj",))
    assert config.methods.prompt_tuning.virtual_tokens == 4
    assert config.model.revision == "1.0.2"
    assert config.train.batch_size == RunConfig().train.batch_size


def test_flags_win_over_overrides_and_overrides_over_the_file(config_file: Any) -> None:
    path = config_file("seed: 1\ntrain: {epochs: 1, batch_size: 1}\n")
    config = load_config(
        path, ["seed=2", "train.epochs=2"], {"train.epochs": 3, "train.patience": None}
    )
    assert (config.seed, config.train.epochs, config.train.batch_size) == (2, 3, 1)


def test_overrides_are_yaml_values() -> None:
    overrides = [
        "methods.prompt-tuning.learning_rate=1e-2",
        "adapt.rungs=[zero-shot, full]",
        "data.group=null",
        "prompt.system='Answer = yes: or no'",
        "train.patience=2",
    ]
    config = load_config(None, overrides)
    assert config.methods.prompt_tuning.learning_rate == 0.01
    assert config.adapt.rungs == ("zero-shot", "full")
    assert config.data.group is None
    assert config.prompt.system == "Answer = yes: or no"
    assert config.train.patience == 2


def test_an_unknown_key_has_its_line_and_a_suggestion(config_file: Any) -> None:
    error = problem(config_file("seed: 1\ntrain:\n  epochs: 1\n  batchsize: 4\n"))
    assert error.problem == "unknown key 'train.batchsize'"
    assert error.where.endswith("run.yaml:4")
    assert error.fix == "did you mean 'batch_size'?"


def test_an_unknown_key_unlike_any_lists_those_known(config_file: Any) -> None:
    error = problem(config_file("prompt:\n  zzz: 1\n"))
    assert "template" in error.fix
    assert "few_shots" in error.fix


def test_a_method_is_spelt_with_a_dash(config_file: Any) -> None:
    error = problem(config_file("methods:\n  prompt-tunin:\n    virtual_tokens: 1\n"))
    assert error.fix == "did you mean 'prompt-tuning'?"


def test_a_wrong_word_has_a_suggestion(config_file: Any) -> None:
    error = problem(config_file("\nmethod: prompt_tuning\n"))
    assert error.where.endswith("run.yaml:2")
    assert error.fix == "did you mean 'prompt-tuning'?"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("train:\n  epochs: 0\n", 2, "greater than 0"),
        ("train:\n  max_time: soon\n", 2, "not a duration"),
        ("adapt:\n  memory: much\n", 2, "not a size"),
        ("adapt:\n  rungs:\n  - zero-shot\n  - two-shot\n", 4, "two-shot"),
        ("adapt:\n  rungs: []\n", 2, "at least 1"),
        ("train: 3\n", 1, "valid dictionary"),
        ("seed: 1.5\n", 1, "integer"),
        ("train:\n  epochs: .inf\n", 2, "valid number"),
        ("train:\n  epochs: 1e999\n", 2, "finite"),
        ("name: [a]\n", 1, "string"),
        (
            "methods:\n  selective:\n    parameters: ['mlp', '(']\n",
            3,
            "not a valid regular expression",
        ),
        ("methods:\n  selective:\n    parameters: ['a{9999999999}']\n", 3, "not a valid regular"),
        (f"methods:\n  selective:\n    parameters: [{'a' * 201}]\n", 3, "200 characters"),
    ],
)
def test_a_wrong_value_is_named_at_its_line(
    text: str, line: int, words: str, config_file: Any
) -> None:
    error = problem(config_file(text))
    assert error.where.endswith(f"run.yaml:{line}")
    assert words in error.problem
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("text", "words", "fix"),
    [
        (
            "strategy: samplin",
            "evaluate.decoding.strategy: should be 'greedy', 'sampling' or 'beam', not 'samplin'",
            "did you mean 'sampling'?",
        ),
        ("temperature: 0.5", "missing discriminator", "strategy to one of greedy"),
        ("strategy: sampling\n    temperatur: 1", "decoding.temperatur'", "'temperature'"),
        ("strategy: greedy\n    temperature: 1", "key 'evaluate.decoding.temperature'", "strategy"),
        ("strategy: sampling\n    top_p: 2", "evaluate.decoding.top_p: ", ""),
        ("strategy: sampling\n    temperature: 0", "evaluate.decoding.temperature: ", ""),
        ("strategy: beam\n    length_penalty: 1e3", "evaluate.decoding.length_penalty: ", ""),
        ("strategy: beam\n    early_stopping: soon", "evaluate.decoding.early_stopping: ", ""),
    ],
)
def test_a_wrong_strategy_is_explained(text: str, words: str, fix: str, config_file: Any) -> None:
    error = problem(config_file(f"evaluate:\n  decoding:\n    {text}\n"))
    assert words in error.problem
    assert fix in error.fix
    assert ".yaml:" in f"{error.where} {error.problem}"


def test_a_value_of_several_kinds_is_one_problem() -> None:
    error = problem(None, "train.compile=maybe")
    assert error.problem == "train.compile: should be 'auto' or true or false, not 'maybe'"
    assert error.where == "the override 'train.compile=maybe'"
    wrong_tag = problem(None, "evaluate.decoding.strategy=samplin")
    assert wrong_tag.where == "the override 'evaluate.decoding.strategy=samplin'"
    assert problem(None, "train.compile=2", "train.packing=2").problem.startswith("2 problems:")


def test_what_is_sampled_follows_from_the_seed_of_the_run() -> None:
    def drawn(*overrides: str) -> Any:
        return load_config(None, ["evaluate.decoding={strategy: sampling}", *overrides]).strategy

    assert drawn() == drawn()
    assert len({drawn(), drawn("seed=1"), drawn("evaluate.decoding.seed=1")}) == 3
    assert load_config().strategy == Greedy()


def test_all_problems_are_told_at_once(config_file: Any) -> None:
    error = problem(config_file("sed: 1\ntrain:\n  epochs: -1\n"), "data.source=3")
    assert error.problem.startswith("3 problems:")
    for words in ("run.yaml:1: unknown key 'sed'", "run.yaml:3: train.epochs", "data.source=3"):
        assert words in error.problem


def test_a_wrong_override_or_flag_is_named() -> None:
    assert problem(None, "train.epoch=1").where == "the override 'train.epoch=1'"
    assert problem(None, "train.epochs=x").where == "the override 'train.epochs=x'"
    assert problem(None, **{"train.epochs": -1}).where == "the option for train.epochs"
    assert "not a valid override" in problem(None, "epochs").problem
    assert (
        "patience counts validations"
        in problem(None, "train.patience=2", "train.num_validations=0").problem
    )
    by_steps = ("train.num_validations=0", "train.validate_every_steps=5")
    assert load_config(None, ["train.patience=2", *by_steps]).train.validates
    assert "not a valid override" in problem(None, "=1").problem
    assert "is not a section" in problem(None, "seed=1", "seed.x=1").problem


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("eval_steps", "validate_every_steps"),
        ("save_steps", "checkpoint_every_steps"),
        ("save_total_limit", "keep_checkpoints"),
        ("max_step", "max_steps"),
    ],
)
def test_a_name_of_another_tool_is_understood(written: str, meant: str) -> None:
    assert problem(None, f"train.{written}=5").fix == f"did you mean {meant!r}?"


def test_a_section_with_nothing_in_it_takes_overrides(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("train:\n", encoding="utf-8")
    assert load_config(path, ["train.epochs=2"]).train.epochs == 2


@pytest.mark.parametrize("task", ["mö tickets", "_x", "..."])
def test_whatever_data_is_called_the_run_has_a_name(task: str, tmp_path: Path) -> None:
    name = RunConfig().run_name("tune", task, "owner/Model")
    assert RunDirectory.create(tmp_path, name).path.name == name


def test_a_single_metric_may_stand_without_brackets() -> None:
    for given in ("evaluate.metrics=rougeL", "evaluate.metrics=[rougeL]"):
        assert load_config(None, [given]).evaluate.metrics == ("rougeL",)


def test_override_changes_one_value_and_checks_it() -> None:
    config = load_config(None, ["train.epochs=2"])
    changed = override(config, {"methods.prompt-tuning.virtual_tokens": 3, "seed": 9})
    assert (changed.seed, changed.methods.prompt_tuning.virtual_tokens) == (9, 3)
    assert changed.train == config.train
    assert override(config, {}) == config
    with pytest.raises(UsageError, match=r"unknown key 'train\.nothing'"):
        override(config, {"train.nothing": 1})


def test_groups_are_of_processes_with_shards() -> None:
    with pytest.raises(UsageError, match=r"applies to fsdp, not to zero2$") as caught:
        load_config(None, ["train.parallelism=zero2", "seed=3", "train.shard_group=2"])
    assert caught.value.where == (
        "the override 'train.parallelism=zero2' and the override 'train.shard_group=2'"
    )
    assert load_config(None, ["train.parallelism=fsdp", "train.shard_group=2"]).train.shards(4)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        [
            "name=010",
            "seed=7",
            "train.max_time=1h30m",
            "adapt.memory=12GiB",
            "adapt.budget=30m",
            "methods.lora.targets=[q_proj, v_proj]",
            "methods.prompt-tuning.initial_text='true'",
            "methods.full.learning_rate=1e-7",
            "prompt.system='no: é ✓ 1e5'",
            "data.source=no",
            "output=/tmp/x y",
            "evaluate.decoding={strategy: beam, early_stopping: never}",
        ],
    ],
)
def test_a_configuration_written_and_read_is_the_same(
    overrides: list[str], config_file: Any
) -> None:
    config = load_config(None, overrides)
    assert load_config(config_file(to_yaml(config))) == config


def test_the_written_configuration_shows_every_default() -> None:
    text = to_yaml(RunConfig())
    for section in ("model", "data", "prompt", "methods", "train", "evaluate", "adapt"):
        assert f"\n{section}:" in text
    assert "prompt-tuning:" in text
    assert "max_grad_norm: 1.0" in text


def test_the_schema_describes_every_key() -> None:
    schema = json.loads(json.dumps(RunConfig.model_json_schema()))
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) >= {"model", "data", "train", "adapt", "seed"}
    for name, part in {"RunConfig": schema, **schema["$defs"]}.items():
        for key, field in part.get("properties", {}).items():
            assert field.get("description"), f"{name}.{key}"


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig().seed = 1  # type: ignore[misc]


def test_every_method_has_its_settings() -> None:
    config = RunConfig(method="prompt-tuning")
    assert config.method_config is config.methods.prompt_tuning
    rates = {config.methods.of(name).learning_rate for name in ("full", "lora", "prompt-tuning")}
    assert len(rates) == 3


@pytest.mark.parametrize(
    ("given", "meant"),
    [("true", "full"), ("false", "none"), ("selective", "selective"), ("none", "none")],
)
def test_activation_checkpointing_may_be_switched_or_chosen(given: str, meant: str) -> None:
    config = load_config(overrides=[f"train.activation_checkpointing={given}"])
    assert config.train.activation_checkpointing == meant
    assert f"activation_checkpointing: {meant}" in to_yaml(config)
