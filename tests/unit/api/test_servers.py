"""Measuring, asking and refusing a model that a server runs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.evaluation import load_evaluation
from luthier.records.evaluation import EvaluationRecord
from luthier.reports import collect_runs

QUIET = Console(quiet=True)
CHOICES = """\
name: weather
kind: choices
files: {splits: {test: rows.jsonl}}
prompt: "{{ text }} It is"
label: "{{ label }}"
choices: {0: cold, 1: hot}
metrics: [acc]
"""
OPEN = """\
name: open
kind: generate
files: {splits: {test: rows.jsonl}}
prompt: "{{ text }}"
completion: "{{ label }}"
max_new_tokens: 6
until: ["\\n"]
extract: {whole: {pattern: "(?s).+"}}
metrics: ["match:whole"]
"""


@pytest.fixture
def tasks(tmp_path: Path) -> list[str]:
    rows = [
        {"text": f"{text} {n}.", "label": n % 2}
        for n, text in enumerate(["Ice is on the water", "A fire burns", "The sun shines"] * 2)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    for name, text in (("weather", CHOICES), ("open", OPEN)):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return [str(tmp_path / "weather.yaml"), str(tmp_path / "open.yaml")]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {
        "output": str(tmp_path / "runs"),
        "evaluate.resamples": 200,
        "model.dtype": "float32",
        "model.endpoint.backoff": 0.01,
        "model.endpoint.retries": 0,
    }


def test_a_server_gets_the_scores_that_its_model_gets_here(
    server: Any, lively: Any, tasks: list[str], settings: dict[str, Any], tmp_path: Path
) -> None:
    lively.model.save_pretrained(tmp_path / "lively")
    lively.tokenizer.save_pretrained(tmp_path / "lively")
    remote, here = luthier.benchmark(
        [server.url, tmp_path / "lively"], tasks, None, settings, QUIET
    )
    for name in ("weather", "open"):
        there, local = load_evaluation(remote.run, name), load_evaluation(here.run, name)
        assert [s.prediction for s in there.samples] == [s.prediction for s in local.samples]
        assert there.record.metrics[0].value == local.record.metrics[0].value
        for one, other in zip(there.samples, local.samples, strict=True):
            assert one.likelihoods == pytest.approx(other.likelihoods, abs=1e-3)
    record = remote.evaluations[1]
    assert record.model.endpoint == server.url
    assert record.model.id == "tiny"
    # Tokens are those that the server counted, not characters.
    assert record.prompt_tokens == here.evaluations[1].prompt_tokens
    assert record.generated_tokens == here.evaluations[1].generated_tokens
    assert remote.run.name.startswith("tasks-tiny-evaluate-")
    listed = collect_runs(Path(settings["output"]))
    assert {run.task for run in listed} == {"open, weather"}
    html = luthier.report(remote.run.path).read_text(encoding="utf-8")
    assert "its weights are unknown" in html


def test_what_was_answered_is_not_asked_again(
    server: Any, tasks: list[str], settings: dict[str, Any]
) -> None:
    (first,) = luthier.benchmark([server.url], tasks, None, settings, QUIET)
    before = len(server.seen)
    (again,) = luthier.benchmark([], [], str(first.run.config), None, QUIET)
    assert again.run.path == first.run.path
    assert [path for path, _, _ in server.seen[before:]] == ["/models"]
    assert again.evaluations[0].metrics == first.evaluations[0].metrics
    assert again.evaluations[0].prompt_tokens == first.evaluations[0].prompt_tokens


def test_a_server_is_measured_on_ones_own_data(
    server: Any, quick_settings: dict[str, Any], settings: dict[str, Any]
) -> None:
    shown = io.StringIO()
    changes = {**quick_settings, **settings, "prompt.shots": 1}
    result = luthier.evaluate(server.url, None, changes, Console(shown))
    assert result.evaluation.model.endpoint == server.url
    assert EvaluationRecord.read(result.run.evaluation(result.evaluation.task)) == result.evaluation
    assert "its weights are not known" in shown.getvalue()
    body = server.bodies("/chat/completions")[0]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    asked = len(server.seen)
    luthier.evaluate(None, str(result.run.config), None, QUIET)
    assert len(server.seen) == asked + 1


def test_a_server_answers_a_question(server: Any, settings: dict[str, Any]) -> None:
    changes = {**settings, "model.id": server.url, "evaluate.max_new_tokens": 3}
    (answer,) = luthier.prompt(None, changes, QUIET, question="Why?")
    (body,) = server.bodies("/chat/completions")
    assert body["messages"] == [{"role": "user", "content": "Why?"}]
    assert answer.prompt == "<|user|>Why?<|assistant|>"


@pytest.mark.parametrize("stage", [luthier.adapt, luthier.tune, luthier.dry_run, luthier.inspect])
def test_what_needs_weights_is_refused(
    stage: Any, server: Any, quick_settings: dict[str, Any], settings: dict[str, Any]
) -> None:
    changes = {**quick_settings, **settings, "model.id": server.url}
    with pytest.raises(UsageError, match="no local weights") as caught:
        stage(None, changes, QUIET)
    assert caught.value.where == server.url
    assert not server.seen
    assert not list(Path(settings["output"]).glob("*/training.json"))


def test_a_stored_run_takes_no_key_to_a_server(
    server: Any,
    tasks: list[str],
    settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LUTHIER_TEST_KEY", "sk-secret")
    changes = {**settings, "model.endpoint.api_key_env": "LUTHIER_TEST_KEY"}
    (result,) = luthier.benchmark([server.url], tasks, None, changes, QUIET)
    text = "".join(p.read_text() for p in result.run.path.rglob("*") if p.is_file())
    assert "sk-secret" not in text
    run, before = result.run.path, len(server.seen)
    for ask in (
        lambda: luthier.benchmark([run], tasks, None, settings, QUIET),
        lambda: luthier.evaluate(run, None, None, QUIET),
        lambda: luthier.prompt(result.run.config, None, QUIET, question="Why?", run=run),
        lambda: luthier.resume(run, QUIET),
    ):
        with pytest.raises(UsageError):
            ask()
    assert len(server.seen) == before
    luthier.benchmark([], [], str(result.run.config), None, QUIET)  # named by its file, it may


def test_vllm_is_named_when_it_is_missing(
    tiny_llama: Path, tasks: list[str], settings: dict[str, Any]
) -> None:
    try:
        import vllm  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("vLLM is installed here")
    changes = {**settings, "evaluate.engine": "vllm"}
    with pytest.raises(UsageError, match="vLLM is not installed") as caught:
        luthier.benchmark([tiny_llama], tasks, None, changes, QUIET)
    assert "luthier[vllm]" in caught.value.fix


def test_tasks_are_asked_through_the_chat_template_of_a_server(
    server: Any, lively: Any, tasks: list[str], settings: dict[str, Any], tmp_path: Path
) -> None:
    lively.model.save_pretrained(tmp_path / "lively")
    lively.tokenizer.save_pretrained(tmp_path / "lively")
    task = Path(tasks[1])
    shown = json.dumps({"text": "Snow falls", "label": 0})
    (tmp_path / "shown.jsonl").write_text(f"{shown}\n", encoding="utf-8")
    keys = task.read_text(encoding="utf-8").replace("{test:", "{train: shown.jsonl, test:")
    task.write_text(f"{keys}system: Say it.\n", encoding="utf-8")
    remote, here = luthier.benchmark(
        [server.url, tmp_path / "lively"], [str(task)], None, settings, QUIET,
        shots=1, chat_template=True,
    )  # fmt: skip
    there, local = (load_evaluation(each.run, "open") for each in (remote, here))
    assert [s.prediction for s in there.samples] == [s.prediction for s in local.samples]
    assert there.record.chat_template is local.record.chat_template is True
    assert there.record.template == local.record.template
    assert there.record.prompt_tokens == local.record.prompt_tokens
    body = server.bodies("/chat/completions")[0]
    roles = ["system", "user", "assistant", "user"]
    assert [turn["role"] for turn in body["messages"]] == roles


def test_choices_in_a_conversation_are_not_scored_by_a_server(
    server: Any, tasks: list[str], settings: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="does not score the choices") as caught:
        luthier.benchmark([server.url], tasks[:1], None, settings, QUIET, chat_template=True)
    assert caught.value.where == "evaluate.task_chat_template"
    assert not server.bodies("/chat/completions")


@pytest.fixture
def closed(tmp_path: Path) -> dict[str, Any]:
    """A run's own rows with two choices."""
    rows = [
        {"text": f"{text} {n}", "label": label}
        for n in range(12)
        for text, label in (("Ice is on the water", "cold"), ("A fire burns", "hot"))
    ]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = {
        "prompt": "{{ text }}",
        "label": "{{ label }}",
        "choices": {"cold": "cold", "hot": "hot"},
    }
    path.with_suffix(".yaml").write_text(json.dumps(task), encoding="utf-8")
    template = str(path.with_suffix(".yaml"))
    return {"data.source": str(path), "prompt.template": template, "data.near_duplicates": "off"}


GENERATED = "the choices are generated as text"


def test_a_server_scores_the_choices_of_own_rows_in_plain_text(
    server: Any, lively: Any, closed: dict[str, Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    """Without the end of the turn, which has no text, so scores differ from local ones by it."""
    shown = io.StringIO()
    asked = {**settings, **closed, "prompt.chat_template": "never"}
    found = luthier.evaluate(server.url, None, asked, Console(shown))
    assert GENERATED not in shown.getvalue()
    assert {sample.prediction for sample in found.samples} <= {"cold", "hot"}
    assert all(len(sample.likelihoods) == 2 for sample in found.samples)


@pytest.mark.parametrize("template", ["auto", "never"])
def test_a_server_without_log_probabilities_generates_choices_and_says_so(
    server: Any, closed: dict[str, Any], settings: dict[str, Any], template: str
) -> None:
    """Conversations are never scored by a server, and this one ignores ``echo``."""
    whole = server.rule
    server.rule = lambda path, body: whole(path, {**(body or {}), "echo": False} if body else body)
    shown = io.StringIO()
    asked = {**settings, **closed, "prompt.chat_template": template}
    found = luthier.evaluate(server.url, None, asked, Console(shown))
    assert GENERATED in " ".join(shown.getvalue().split())
    assert not any(sample.likelihoods for sample in found.samples)
