"""What a stored run asks for counts for nothing until it is given again by name."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import luthier as package
from luthier.api.configuration import configure
from luthier.cli.main import run as luthier
from luthier.config import RunConfig, load_config
from luthier.config.permission import fields_of, permissions
from luthier.config.stored import described_config, save_config, stored_config
from luthier.core.choices import BUNDLED_DATA, BUNDLED_MODELS
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.records.run_directory import RunDirectory

QUIET = Console(quiet=True)
LORA = "{run}/rungs/lora"
COMMANDS = [
    ("evaluate", LORA),
    ("evaluate", LORA, "--tasks", "{task}"),
    ("forgetting", LORA),
    ("forgetting", LORA, "--before", "{run}/rungs/zero-shot"),
    ("prompt", "--run", LORA, "--num", "1"),
    ("prompt", "--run", LORA, "--input", "Why?"),
    ("predict", LORA, "{run}/manifest.json"),
    ("merge", LORA),
    ("push", LORA, "ada/router", "--dry-run", "--base", "ada/tiny"),
    ("resume", "{run}"),
    ("extend", "{tuned}", "--epochs", "1"),
    ("resume", "{tuned}"),
]
ONLY_SHOWN = [
    ("report", "{run}"),
    ("compare", LORA, "{run}/rungs/zero-shot"),
    ("runs", "--output", "{run}/.."),
]
HARMLESS = {
    "seed", "method",
    *(f"model.{name}" for name in ("dtype", "quantisation", "resize_embeddings")),
    *(
        f"model.endpoint.{name}"
        for name in (
            "name", "completions", "concurrency", "requests_per_minute", "timeout", "retries",
            "backoff",
        )
    ),
    *(
        f"data.{name}"
        for name in (
            "subset", "format", "validation_fraction", "test_fraction", "group",
            "near_duplicates",
            "consecutive_turns", "opening", "ending", "ignore_keys", "weight", "class_weights",
            "num_train", "num_validation", "num_test", "max_characters", "max_length", "too_long",
            "replay", "invalid", "refusals", "system_turns",
        )
    ),
    *(
        f"prompt.{name}"
        for name in (
            "chat_template_kwargs", "special_tokens", "train_on", "reasoning", "system", "shots",
            "few_shots",
        )
    ),
    *(
        f"train.{name}"
        for name in (
            "epochs", "max_steps", "batch_size", "micro_batch_tokens", "max_padding", "packing",
            "schedule", "warmup_fraction", "max_grad_norm", "optimizer", "master_weights",
            "num_validations", "validate_every_steps", "patience", "checkpoint_every",
            "checkpoint_every_steps", "keep_checkpoints", "max_time", "parallelism", "shard_group",
            "activation_checkpointing", "compile", "neftune_alpha", "completion_only_loss",
            "loss_weight", "guards.non_finite", "guards.loss_spike", "guards.gradient_spike",
            "guards.no_change", "guards.max_forgetting", "guards.max_skipped",
            "guards.max_skipped_in_row",
        )
    ),
    *(
        f"evaluate.{name}"
        for name in (
            "metrics", "max_new_tokens", "stop", "too_long", "engine", "batch_tokens",
            "confidence", "resamples", "task_shots", "task_chat_template", "limit",
            "limit_draw", "samples", "abstain", "choices", "calibrate",
            "contamination_ngram", "general_tokens", "decoding.strategy", "decoding.temperature",
            "decoding.top_k", "decoding.top_p", "decoding.min_p", "decoding.seed",
            "decoding.num_beams", "decoding.length_penalty", "decoding.early_stopping",
        )
    ),
    *(
        f"adapt.{name}"
        for name in ("rungs", "target", "stop_at_target", "budget", "memory", "alpha", "baselines")
    ),
}  # fmt: skip
"""Settings of which no value runs code, sends something, or leads outside of the run."""
HARMLESS_OF_METHODS = {
    "learning_rate", "weight_decay", "epochs", "layers", "cache", "parameters", "targets",
    "exclude_modules", "layers_to_transform", "modules_to_save", "rank", "alpha", "dropout",
    "trainable_tokens",
    "final_rank", "start", "tfinal_fraction", "prune_every", "orth_reg_weight", "quantisation",
    "feedforward_modules", "bottleneck", "placement", "virtual_tokens", "initial_text",
}  # fmt: skip
ASKED = {
    "model.id": "/elsewhere/model",
    "model.base": "someone/model",
    "model.revision": "refs/pr/1",
    "model.trust_remote_code": True,
    "model.allow_pickle": True,
    "model.endpoint.api_key_env": "AWS_SECRET_ACCESS_KEY",
    "model.tokenizer": "someone/tokenizer",
    "data.source": "/home/someone/letters.txt",
    "data.validation": "../letters.txt",
    "data.test": "someone/data",
    "data.replay_text": "/etc/passwd",
    "prompt.template": "/elsewhere/template.yaml",
    "prompt.chat_template": "/elsewhere/chat.jinja",
    "train.trackers": ["tensorboard", "wandb"],
    "evaluate.tasks": ["glue/rte", "/elsewhere/task.yaml"],
    "evaluate.general_text": "/etc/passwd",
}
"""For every permission a value that asks for it."""
ALWAYS = {
    "model.trust_remote_code", "model.allow_pickle", "model.endpoint.api_key_env", "train.trackers",
}  # fmt: skip
"""What must be given again even in a run of one's own."""


@pytest.fixture
def tuned(tiny_llama: Path, quick_settings: dict[str, Any], tmp_path: Path, adapted: Path) -> Path:
    """A finished tuning."""
    settings = {
        **quick_settings,
        "model.id": str(tiny_llama),
        "output": str(tmp_path / "tuned"),
        "name": "tuned",
    }
    return package.tune(None, settings, QUIET).run.path


@pytest.fixture
def task(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text('{"q": "Is it?", "a": "yes"}\n' * 8)
    path = tmp_path / "own.yaml"
    text = (
        "name: own\nkind: choices\nfiles: {splits: {test: rows.jsonl}}\nprompt: '{{ q }}'\n"
        "label: '{{ a }}'\nchoices: {'yes': ' yes', 'no': ' no'}\nmetrics: [acc]\n"
    )
    path.write_text(text)
    return path


def changed(run: Path, key: str, value: Any) -> None:
    """Every config.yaml of a run, as somebody else may have written it."""
    for path in [run / "config.yaml", *run.glob("rungs/*/config.yaml")]:
        values = yaml.safe_load(path.read_text())
        *parents, last = key.split(".")
        part = values
        for parent in parents:
            part = part[parent]
        part[last] = value
        path.write_text(yaml.safe_dump(values))


def with_code(folder: Path, written: Path) -> None:
    """Make the model in a folder one that carries Python code, which would write a file."""
    code = (
        f"open({str(written)!r}, 'w').write('it ran')\n"
        "from transformers import LlamaConfig as C, LlamaForCausalLM as M\n"
    )
    (folder / "evil.py").write_text(code)
    path = folder / "config.json"
    values = json.loads(path.read_text()) if path.is_file() else {"model_type": "llama"}
    mapped = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}
    path.write_text(json.dumps({**values, "model_type": "evil", "auto_map": mapped}))


def said(capfd: pytest.CaptureFixture[str]) -> str:
    return "".join(capfd.readouterr().err.split())


def test_every_setting_is_a_permission_or_harmless() -> None:
    marked = {".".join(location) for location, _ in permissions(RunConfig)}
    named = {".".join(location) for location, _ in fields_of(RunConfig)}
    methods = {name for name in named if name.startswith("methods.")}
    assert {name.split(".")[-1] for name in methods} == HARMLESS_OF_METHODS
    assert not marked & HARMLESS
    assert named - methods == marked | HARMLESS
    assert marked == {*ASKED, "name", "output"}


def test_no_default_asks_and_every_example_does() -> None:
    for location, permission in permissions(RunConfig):
        key = ".".join(location)
        value: Any = RunConfig()
        for name in location:
            value = getattr(value, name)
        assert not permission.asks(value), key
        assert not permission.always(value), key
        if key in ASKED:
            asked = ASKED[key]
            assert permission.asks(tuple(asked) if isinstance(asked, list) else asked), key


def test_bundled_names_are_those_that_there_are() -> None:
    from luthier.data.bundled import BUNDLED
    from luthier.models import bundled

    assert set(BUNDLED_DATA) == set(BUNDLED)
    assert set(BUNDLED_MODELS) == set(bundled.BUNDLED_MODELS)


@pytest.mark.parametrize("key", ASKED)
def test_what_a_run_of_others_asks_for_is_named_and_refused(key: str, copied: Path) -> None:
    changed(copied, key, ASKED[key])
    run = RunDirectory.open(copied)
    with pytest.raises(UsageError) as caught:
        stored_config(run)
    told = str(caught.value)
    assert f'field "{key}"' in told
    assert f"{copied / 'config.yaml'}:" in told
    assert f"add {key}=" in told or f"add '{key}=" in told


@pytest.mark.parametrize("key", ASKED)
def test_what_is_given_by_name_counts(key: str, copied: Path) -> None:
    given = {"model.id": BUNDLED_MODELS[0], "data.source": "python-docstrings", key: ASKED[key]}
    changed(copied, key, ASKED[key])
    config: Any = stored_config(RunDirectory.open(copied), given)
    for name in key.split("."):
        config = getattr(config, name)
    assert config == (tuple(ASKED[key]) if isinstance(ASKED[key], list) else ASKED[key])


@pytest.mark.parametrize("key", ASKED)
def test_of_ones_own_run_places_are_known_and_powers_are_not(key: str, copied: Path) -> None:
    run = RunDirectory.open(copied)
    save_config(run, configure(run.config, {key: ASKED[key]}))
    if key in ALWAYS:
        with pytest.raises(UsageError, match="must be given again each time"):
            stored_config(run)
    else:
        stored_config(run)
    run.config.write_text(run.config.read_text() + "# touched by somebody\n")
    with pytest.raises(UsageError, match="others may have written it"):
        stored_config(run)


def test_the_server_of_ones_own_run_is_named_again(copied: Path) -> None:
    run = RunDirectory.open(copied)
    save_config(run, configure(run.config, {"model.id": "http://127.0.0.1:1/v1"}))
    with pytest.raises(UsageError, match=r"model\.id=http://127\.0\.0\.1:1/v1"):
        stored_config(run)


def test_what_is_shown_may_do_nothing(copied: Path) -> None:
    for key in ALWAYS - {"train.trackers"}:
        changed(copied, key, ASKED[key])
    model = described_config(RunDirectory.open(copied)).model
    assert (model.trust_remote_code, model.allow_pickle) == (False, False)
    assert model.endpoint.api_key_env is None


def test_where_a_run_says_it_lies_is_not_looked_at(copied: Path, tmp_path: Path) -> None:
    run = RunDirectory.open(copied)
    config = configure(run.config, {"output": str(tmp_path / "victim"), "name": "x"})
    save_config(run, config)
    read = stored_config(run)
    assert (read.output, read.name) == (copied.parent.resolve(), copied.name)


@pytest.mark.sample(8)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("key", ["model.trust_remote_code", "model.allow_pickle"])
def test_no_command_runs_the_code_of_a_stored_run(
    command: Sequence[str],
    key: str,
    copied: Path,
    request: pytest.FixtureRequest,
    task: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    written = tmp_path / "written"
    run = copied
    places = {"run": copied, "task": task}
    if any("{tuned}" in part for part in command):
        run = places["tuned"] = request.getfixturevalue("tuned")
    changed(run, key, True)
    for model in run.rglob("model"):
        with_code(model, written)
    evil = Path(shutil.copytree(next(run.rglob("model")), tmp_path / "evil"))
    with_code(evil, written)
    changed(run, "model.id", str(evil))
    before = sorted(path for path in run.rglob("*"))
    assert luthier([part.format(**places) for part in command]) == 2
    told = said(capfd)
    assert f'field"{key}"' in told
    assert f"add{key}=true" in told
    assert not written.exists()
    assert sorted(path for path in run.rglob("*")) == before


@pytest.mark.parametrize("command", ONLY_SHOWN, ids=" ".join)
def test_what_is_only_shown_runs_nothing(
    command: Sequence[str], copied: Path, tmp_path: Path
) -> None:
    written = tmp_path / "written"
    for model in copied.rglob("model"):
        with_code(model, written)
    for key, value in ASKED.items():
        changed(copied, key, value)
    assert luthier([part.format(run=copied) for part in command]) == 0
    assert not written.exists()


def test_only_permissions_are_taken_when_a_run_goes_on(
    copied: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert luthier(["resume", str(copied), "train.epochs=9"]) == 2
    assert "train.epochscannotbechangedhere" in said(capfd)


def test_a_run_that_was_touched_goes_on_once_its_model_is_named(
    copied: Path, tiny_llama: Path
) -> None:
    changed(copied, "adapt.alpha", 0.05)
    assert luthier(["resume", str(copied)]) == 2
    source = load_config(copied / "config.yaml").data.source
    given = [f"model.id={tiny_llama}", f"data.source={source}"]
    assert luthier(["resume", str(copied), *given]) == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("model.trust_remote_cod=true", "do: did you mean 'model.trust_remote_code'?"),
        ("train.epochs=9", "do: only these settings can be given: "),
    ],
)
def test_only_permissions_can_be_given_to_a_run(
    given: str, told: str, copied: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert luthier(["resume", str(copied), given]) == 2
    said = " ".join(capfd.readouterr().err.split())
    assert f"{given.partition('=')[0]} cannot be changed here" in said
    assert told in said


def readers(tree: ast.AST) -> list[int]:
    """Lines of calls that read a configuration from where a run has stored its own."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            takes = [ast.unparse(each) for each in (*node.args, *[k.value for k in node.keywords])]
            harmless = {"read_text", "str", "is_file", "save_config"}
            if name not in harmless and any(t.endswith(".config") and "run" in t for t in takes):
                found.append(node.lineno)
    return found


def test_no_reader_goes_around() -> None:
    source = Path(package.__file__).parent
    found = {
        str(path.relative_to(source)): lines
        for path in sorted(source.rglob("*.py"))
        if (lines := readers(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert set(found) == {"config/stored.py"}
    assert readers(ast.parse("load_config(run.config)")) == [1]
    assert readers(ast.parse("configure(self.run.config, {})")) == [1]
