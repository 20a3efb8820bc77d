"""Lines to copy: they name this run, and load its weights with the library that can."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from luthier.records.ladder import LadderRecord
from luthier.records.run_directory import RunDirectory
from luthier.reports.content import read_content
from luthier.reports.use_model import Snippet, use_snippets


def snippets_of(run: RunDirectory) -> dict[str, Snippet]:
    return {snippet.title: snippet for snippet in use_snippets(read_content(run))}


def save(run: RunDirectory, name: str, settings: dict[str, Any]) -> None:
    run.model.mkdir()
    (run.model / name).write_text(json.dumps(settings))


def chat(run: RunDirectory) -> None:
    """Make the first prompt that of a chat template."""
    path = run.samples("python-docstrings")
    first, *others = path.read_text().splitlines()
    prompt = '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nSay "a"<|im_end|>\n'
    path.write_text("\n".join([json.dumps(json.loads(first) | {"prompt": prompt}), *others]))


def test_the_run_is_named_from_the_working_directory(
    adapt_run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(adapt_run.path.parent.parent)
    snippets = snippets_of(adapt_run)
    assert snippets["Shell"].code == "luthier predict runs/docstrings new.csv -o answers.csv"
    assert 'luthier.load("runs/docstrings")' in snippets["Python"].code


def test_a_path_is_quoted(adapt_run: RunDirectory, tmp_path: Path) -> None:
    moved = RunDirectory(adapt_run.path.rename(tmp_path / 'a "run" $(x)'))
    snippets = snippets_of(moved)
    assert snippets["Shell"].code == f"luthier predict '{moved.path}' new.csv -o answers.csv"
    ast.parse(snippets["Python"].code)


def test_an_adapter_is_loaded_with_peft(adapt_run: RunDirectory) -> None:
    rung = adapt_run.rung("lora")
    save(rung, "adapter_config.json", {"peft_type": "LORA"})
    chat(rung)
    snippet = snippets_of(adapt_run)["peft"]
    ast.parse(snippet.code)
    assert 'base = "HuggingFaceTB/SmolLM2-135M-Instruct"' in snippet.code
    assert f'folder = "{rung.model}"' in snippet.code
    assert '{"role": "system", "content": "Be brief."}' in snippet.code
    assert r'{"role": "user", "content": "Say \"a\""}' in snippet.code
    assert "quantised copy" in snippet.note


def test_a_whole_model_is_loaded_with_transformers(tune_run: RunDirectory) -> None:
    save(tune_run, "config.json", {})
    code = snippets_of(tune_run)["transformers"].code
    ast.parse(code)
    assert "peft" not in code


def test_an_adapter_that_only_luthier_loads_has_no_lines_for_others(
    tune_run: RunDirectory,
) -> None:
    save(tune_run, "adapter_config.json", {"adapter_type": "houlsby"})
    assert list(snippets_of(tune_run)) == ["Shell", "Python"]


def test_without_a_recommendation_there_is_nothing_to_use(adapt_run: RunDirectory) -> None:
    ladder = LadderRecord.read(adapt_run.ladder)
    answer = ladder.recommendation.model_copy(update={"rung": None})
    ladder.model_copy(update={"recommendation": answer}).write(adapt_run.ladder)
    assert snippets_of(adapt_run) == {}


def test_an_evaluation_has_no_model_of_its_own(tune_run: RunDirectory) -> None:
    tune_run.training.unlink()
    tune_run.metrics.unlink()
    assert snippets_of(tune_run) == {}
