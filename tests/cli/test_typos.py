"""A newcomer's typos: each gives one clear error, with its exit code and what to do."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.main import _COMMANDS
from luthier.cli.mistakes import CONFIGURED

Call = Callable[..., Any]
ROWS = "".join(f'{{"prompt": "Say {n}.", "completion": "{n}"}}\n' for n in range(40))
TASK = """\
kind: generate
name: mine
promt: "{{ prompt }}"
metrics: [exact_match]
"""
TYPOS = {
    "command": ("adpat", 2, 'Unknown command "adpat"', 'Did you mean "adapt"?'),
    "subcommand": (
        "plan serach gpt2",
        2,
        "'luthier plan' has no 'serach'",
        "'luthier plan search'",
    ),
    "subcommand-of-models": ("models pul x", 2, "has no 'pul'", "use 'luthier models pull'"),
    "subcommand-of-config": ("config shwo", 2, "has no 'shwo'", "use 'luthier config show'"),
    "no-subcommand": (
        "data rows.jsonl",
        2,
        "takes no argument 'rows.jsonl'",
        "'luthier data show'",
    ),
    "too-many": ("doctor now", 2, "takes no argument 'now'", "'luthier doctor --help'"),
    "nothing-named": ("merge", 2, "'luthier merge' needs RUN", "'luthier merge --help'"),
    "no-value": ("plan gpt2 --hardware", 2, "--hardware needs a value", "'luthier plan --help'"),
    "option": ("tune --modle x", 2, "unknown option --modle", "did you mean '--model'?"),
    "setting-as-option": ("tune --epochs 3", 2, "unknown option --epochs", "train.epochs=VALUE"),
    "setting-with-one-dash": ("tune -epochs 3", 2, "option -epochs", "train.epochs=VALUE"),
    "setting-of-methods": (
        *("tune --learning-rate 1e-4", 2, "unknown option --learning-rate"),
        "methods.METHOD.learning_rate=VALUE",
    ),
    "setting-misspelt-as-option": (
        *("evaluate --metric rouge", 2, "unknown option --metric", "evaluate.metrics=VALUE"),
    ),
    "file": ("tune row.jsonl", 3, "found no data called 'row.jsonl'", "'rows.jsonl'"),
    "model": (
        *("tune rows.jsonl --model smolm2-135m-instruct", 3, "model 'smolm2-135m-instruct' not"),
        "did you mean 'smollm2-135m-instruct'?",
    ),
    "metric": (
        *("tune rows.jsonl evaluate.metrics=[accurcy]", 2, "unknown metric 'accurcy'"),
        "did you mean 'accuracy'?",
    ),
    "method": ("tune rows.jsonl --method lroa", 2, "not 'lroa'", "did you mean 'lora'?"),
    "hardware": ("plan gpt2 --hardware h10", 2, "the device 'h10' is not", "'h100'"),
    "key": ("config show train.epoch=2", 2, "unknown key 'train.epoch'", "'epochs'?"),
    "key-of-another-section": (
        *("config show epochs=2", 2, "unknown key 'epochs'", "did you mean train.epochs"),
    ),
    "key-of-methods": (
        *("config show train.learning_rate=1e-4", 2, "unknown key 'train.learning_rate'"),
        "did you mean methods.METHOD.learning_rate?",
    ),
    "key-of-yaml": ("config show mine.yaml", 2, "at: mine.yaml:2", "did you mean 'epochs'?"),
    "key-of-a-task": ("tasks task.yaml", 3, "has no key 'promt'", "did you mean 'prompt'?"),
    "value": ("config show train.epochs=two", 2, "train.epochs: should be a", "not 'two'"),
    "unit": ("tune rows.jsonl --max-time 2x", 2, "'2x' is not a duration", "90s, 30m, 2h"),
    "size": ("adapt rows.jsonl --memory 12GX", 2, "'12GX' is not a size", "12GiB or 500MB"),
    "path": ("report runs/nothing", 3, "not a run directory", "'luthier runs'"),
    "run-as-data": ("inspect mine", 2, "this is a run", "mine/config.yaml"),
}


@pytest.mark.parametrize("name", TYPOS)
def test_a_typo_is_one_clear_error_with_what_to_do(
    name: str, call: Call, in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LUTHIER_DATA", raising=False)
    Path("rows.jsonl").write_text(ROWS)
    Path("task.yaml").write_text(TASK)
    Path("mine.yaml").write_text("train:\n  epoch: 2\n")
    Path("mine").mkdir()
    Path("mine/config.yaml").write_text("seed: 1\n")
    command, code, problem, fix = TYPOS[name]
    outcome = call(*str(command).split())
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    (line,) = [one for one in outcome.err.splitlines() if one.startswith("error: ")]
    said = outcome.err[outcome.err.index(line) :]
    assert str(problem) in said
    assert str(fix) in said
    assert len(said.splitlines()) <= 3
    assert "needs 'prompt'" not in said  # a misspelt key is not a missing one


def test_the_footer_promises_settings_only_where_they_are_taken(call: Call) -> None:
    for name, path, _ in _COMMANDS:
        source = importlib.import_module(path.partition(":")[0]).__file__
        assert source
        reads = "read_configuration(" in Path(source).read_text(encoding="utf-8")
        assert reads == (name in CONFIGURED), name
        assert ("Any setting: section.key=value" in call(name, "--help").out) == reads, name
    assert "Start with 'luthier adapt'" in call("--help").out
