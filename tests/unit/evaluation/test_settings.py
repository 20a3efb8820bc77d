"""Every setting of ``evaluate`` reaches what is measured, or is refused with the reason."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

import luthier
from luthier.api.configuration import configure
from luthier.config import EvaluateConfig, ModelConfig, RunConfig, Sampling
from luthier.context.found_model import ModelFiles, ModelOnServer, find_weights
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.data.task_rows import read_task
from luthier.evaluation import load_evaluation
from luthier.evaluation.asking import load_task, select_tasks
from luthier.evaluation.settings import SETTINGS, Use, _default, require_reach, with_settings
from luthier.inference.remote import open_endpoint
from luthier.tasks.documents import KINDS
from luthier.tasks.generation import GenerationTask
from luthier.tasks.task import Task
from luthier.workflows.judge_runner import load_judge

# A value for each setting that is not its default.
OTHER: dict[str, Any] = {
    "metrics": ["em"],
    "max_new_tokens": 3,
    "stop": ["e"],
    "decoding": {"strategy": "sampling", "temperature": 0.5},
    "samples": 2,
    "choices": "generation",
    "calibrate": True,
    "engine": "vllm",
    "batch_tokens": 64,
    "confidence": 0.9,
    "resamples": 150,
    "tasks": ["gsm8k"],
    "task_shots": 1,
    "task_chat_template": True,
    "limit": 2,
    "limit_draw": "first",
    "contamination_ngram": None,
    "general_text": None,
    "general_tokens": 128,
    "too_long": "drop",
    "abstain": 0.9,
}
ROWS = [{"q": f"What is {n}+{n}?", "a": str(2 * n)} for n in range(6)]
PARITY = {
    "prompt": "{{ prompt }}",
    "label": "{{ completion }}",
    "choices": {"even": "even", "odd": "odd"},
    "metrics": ["accuracy"],
}
TASKS: dict[str, dict[str, Any]] = {
    "generate": {
        "prompt": "{{ q }}",
        "completion": "{{ a }}",
        "max_new_tokens": 8,
        "metrics": ["em"],
    },
    "choices": {
        "prompt": "{{ q }}",
        "label": "{{ a }}",
        "choices": {str(n): str(n) for n in range(0, 12, 2)},
        "metrics": ["acc"],
    },
    "candidates": {"prompt": "", "candidates": "c", "references": "a", "metrics": ["acc"]},
    "contexts": {"contexts": "c", "continuation": "x", "answer_index": "a", "metrics": ["acc"]},
    "rating": {
        "prompt": "{{ q }}",
        "label": "{{ a }}",
        "scale": {"0": "no", "10": "yes"},
        "metrics": ["pearson"],
    },
    "cloze": {"prompt": "{{ q }}", "completion": "{{ a }}", "metrics": ["greedy_acc"]},
    "text": {"text": "{{ q }}", "metrics": ["byte_perplexity"]},
}


def written(folder: Path, kind: str, **more: Any) -> str:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "t.jsonl").write_text(lines, encoding="utf-8")
    keys = {"name": f"own-{kind}", "kind": kind, "files": {"splits": {"test": "t.jsonl"}}}
    path = folder / f"{kind}.yaml"
    path.write_text(json.dumps(keys | TASKS[kind] | more), encoding="utf-8")
    return str(path)


def task_of(folder: Path, kind: str) -> Task:
    found = load_task(written(folder, kind))
    assert isinstance(found, Task)
    return found


def test_every_setting_is_decided_on() -> None:
    assert set(SETTINGS) == set(EvaluateConfig.model_fields) == set(OTHER)
    assert set(TASKS) == set(KINDS)
    for name, value in OTHER.items():
        assert getattr(EvaluateConfig.model_validate({name: value}), name) != getattr(
            EvaluateConfig(), name
        )


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", [name for name, reach in SETTINGS.items() if reach.task_field])
def test_a_setting_replaces_the_tasks_or_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    task, field = task_of(tmp_path, kind), SETTINGS[name].task_field
    more = {"decoding": OTHER["decoding"]} if name == "samples" else {}
    value = task.metrics if name == "metrics" else OTHER[name]
    value = value[::-1] if name == "metrics" else value
    config = configure(None, {"evaluate": {name: value, **more}})
    if name != "metrics" and kind != "generate":
        with pytest.raises(UsageError, match=f"own-{kind} does not take evaluate.") as caught:
            with_settings(task, config)
        assert f"evaluate.{name}" in caught.value.problem or name == "samples"
        return
    changed = with_settings(task, config)
    wanted = config.strategy if name == "decoding" else getattr(config.evaluate, name)
    assert getattr(changed, field) == wanted
    assert read_task(changed, "test").rows == read_task(task, "test").rows
    # What was asked otherwise has another fingerprint, so it is never compared.
    assert (changed.stamp == task.stamp) is (name == "metrics")


@pytest.mark.parametrize("name", [n for n, r in SETTINGS.items() if not r.task_field])
def test_any_other_setting_leaves_the_tasks_as_they_are(tmp_path: Path, name: str) -> None:
    config = configure(None, {"evaluate": {name: OTHER[name]}})
    task = task_of(tmp_path, "generate")
    assert with_settings(task, config) is task


Entry = Callable[[RunConfig], object]
REFUSED = [(name, use) for name, reach in SETTINGS.items() for use in reach.refused]


@pytest.fixture
def entries(tmp_path: Path, parity_file: Path, tiny_gpt2: Path, server: Any) -> dict[str, Entry]:
    """How each use is asked for; ``suite`` is one more way to measure tasks."""
    quiet = Console(quiet=True)
    base = {
        "data.source": str(parity_file),
        "model.id": str(tiny_gpt2),
        "model.dtype": "float32",
        "output": str(tmp_path / "runs"),
    }
    run = tmp_path / "runs" / "tuned"
    (run / "model").mkdir(parents=True)
    (run / "config.yaml").write_text("{}", encoding="utf-8")
    own = written(tmp_path, "generate")
    suite = tmp_path / "suite.yaml"
    keys = {"kind": "suite", "name": "own", "tasks": ["generate.yaml"]}
    suite.write_text(json.dumps(keys), encoding="utf-8")
    on_server = ModelConfig.model_validate({"id": server.url})

    def files(config: RunConfig) -> ModelFiles:
        return find_weights(configure(config, base).model, quiet)

    closed = tmp_path / "parity.yaml"
    closed.write_text(json.dumps(PARITY), encoding="utf-8")
    chosen = {**base, "prompt.template": str(closed)}
    return {
        "data": lambda c: luthier.evaluate(None, c, base, quiet),
        "choices": lambda c: luthier.evaluate(None, c, chosen, quiet),
        "ladder": lambda c: luthier.adapt(c, base, quiet),
        "rehearsed ladder": lambda c: luthier.dry_run(c, base, quiet),
        "tasks": lambda c: luthier.benchmark([], [own], c, base, quiet),
        "suite": lambda c: luthier.benchmark([], [str(suite)], c, base, quiet),
        "submission": lambda c: luthier.submit(None, [own], tmp_path / "out", c, base, quiet),
        "judge": lambda c: load_judge(configure(c, base), None, quiet),
        "server": lambda c: ModelOnServer(open_endpoint(on_server, quiet)).load(c.evaluate),
        "tuned": lambda c: luthier.evaluate(run, c, base, quiet),
        "vllm": lambda c: files(c).load(c.evaluate.model_copy(update={"engine": "vllm"})),
    }


ALSO = {"ladder": ("rehearsed ladder",), "tasks": ("suite",)}


@pytest.mark.parametrize(("name", "use"), REFUSED)
def test_a_setting_without_effect_is_refused(
    tmp_path: Path, entries: dict[str, Entry], name: str, use: str
) -> None:
    """By whatever is called, with the reason, and before anything is written."""
    config = configure(None, {"evaluate": {name: OTHER[name]}})
    before = set(tmp_path.rglob("*"))
    for entry in (use, *ALSO.get(use, ())):
        with pytest.raises(UsageError, match=rf"evaluate\.{name} has no effect on .*: ") as caught:
            entries[entry](config)
        assert caught.value.where == f"evaluate.{name}"
        assert f"its default is evaluate.{name}" in (caught.value.fix or "")
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", OTHER)
def test_a_setting_with_an_effect_is_taken(name: str) -> None:
    config = EvaluateConfig.model_validate({name: OTHER[name]})
    for use in get_args(Use):
        if use not in SETTINGS[name].refused:
            require_reach(config, use)


def test_defaults_that_are_named_can_be_written() -> None:
    for name in OTHER:
        key, _, value = _default(name).partition("=")
        assert configure(None, {key: json.loads(value) if name != "decoding" else value}) == (
            configure(None, {})
        )


def test_calibration_of_generated_answers_is_refused(
    tmp_path: Path, parity_file: Path, tiny_gpt2: Path
) -> None:
    base = {"data.source": str(parity_file), "model.id": str(tiny_gpt2), "output": str(tmp_path)}
    with pytest.raises(UsageError, match="no effect on generated answers"):
        luthier.evaluate(None, None, {**base, "evaluate.calibrate": True}, Console(quiet=True))


DATA_EFFECTS: dict[str, Callable[[Any, Any], bool]] = {
    "metrics": lambda a, b: [m.name for m in b.evaluation.metrics] == ["em"],
    "max_new_tokens": lambda a, b: b.evaluation.generated_tokens < a.evaluation.generated_tokens,
    "stop": lambda a, b: not any("e" in sample.prediction for sample in b.samples),
    "decoding": lambda a, b: [s.prediction for s in a.samples] != [s.prediction for s in b.samples],
    "samples": lambda a, b: len(b.samples) == 2 * len(a.samples),
    "confidence": lambda a, b: {m.confidence for m in b.evaluation.metrics} == {0.9},
}


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", DATA_EFFECTS)
def test_a_setting_reaches_the_data(
    tmp_path: Path, parity_file: Path, tiny_gpt2: Path, name: str
) -> None:
    base = {
        "data.source": str(parity_file),
        "data.num_test": 6,
        "model.id": str(tiny_gpt2),
        "model.dtype": "float32",
        "output": str(tmp_path / "runs"),
        "evaluate.resamples": 100,
        "evaluate.max_new_tokens": 8,
    }
    more = {"evaluate.decoding": OTHER["decoding"]} if name == "samples" else {}
    plain, changed = (
        luthier.evaluate(None, None, {**base, **values}, Console(quiet=True))
        for values in ({}, {f"evaluate.{name}": OTHER[name], **more})
    )
    assert DATA_EFFECTS[name](plain, changed)


def test_answers_of_the_data_are_scored_together(
    tmp_path: Path, parity_file: Path, tiny_gpt2: Path
) -> None:
    """pass@k and the majority, of answers that are one observation."""
    settings = {
        "data.source": str(parity_file),
        "data.num_test": 6,
        "model.id": str(tiny_gpt2),
        "model.dtype": "float32",
        "output": str(tmp_path / "runs"),
        "evaluate.resamples": 100,
        "evaluate.max_new_tokens": 3,
        "evaluate.decoding": OTHER["decoding"],
        "evaluate.samples": 3,
        "evaluate.metrics": ["chrf", "pass@2", "majority"],
    }
    result = luthier.evaluate(None, None, settings, Console(quiet=True))
    assert len(result.samples) == 18
    first = result.samples[:3]
    assert len({sample.question_id for sample in first}) == len({s.group for s in first}) == 1
    assert [sample.id for sample in first] == [f"{first[0].question_id}#{n}" for n in (1, 2, 3)]
    assert len({sample.prediction for sample in first}) > 1
    alone = luthier.evaluate(
        None,
        None,
        {**settings, "evaluate.samples": 1, "evaluate.metrics": ["chrf"]},
        Console(quiet=True),
    )
    assert [s.prediction for s in alone.samples] == [s.prediction for s in result.samples[::3]]
    with pytest.raises(UsageError, match="would be equal: their decoding is greedy"):
        luthier.evaluate(None, None, {**settings, "evaluate.decoding": {"strategy": "greedy"}})


@pytest.mark.parametrize(
    ("metric", "lacks"),
    [
        ("pass@2", "several answers"),
        ("majority", "several answers"),
        ("perplexity", "likelihoods"),
        ("acc", "likelihoods"),
        ("bits_per_byte", "lengths"),
        ("all_right", "sets of answers"),
        ("match:strict", "extractors"),
        ("majority:match:strict", "extractors"),
    ],
)
def test_a_metric_that_data_never_suits_is_refused_before_anything_runs(
    tmp_path: Path, parity_file: Path, tiny_gpt2: Path, metric: str, lacks: str
) -> None:
    settings = {
        "data.source": str(parity_file),
        "model.id": str(tiny_gpt2),
        "output": str(tmp_path / "runs"),
        "evaluate.metrics": [metric],
    }
    with pytest.raises(UsageError, match=f"the metric {metric} needs .*{lacks}"):
        luthier.evaluate(None, None, settings, Console(quiet=True))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        ("generate", "acc"),
        ("generate", "perplexity"),
        ("generate", "f1:1"),
        ("choices", "word_perplexity"),
        ("choices", "chrf"),
        ("choices", "rougeL"),
        ("rating", "bleu"),
        ("cloze", "acc"),
        ("cloze", "byte_perplexity"),
        ("text", "acc_norm"),
        ("text", "exact_match"),
        ("text", "pearson"),
    ],
)
def test_a_metric_that_does_not_suit_the_task_is_refused(
    tmp_path: Path, kind: str, metric: str
) -> None:
    config = configure(None, {"evaluate.metrics": [metric]})
    with pytest.raises(UsageError, match=rf"own-{kind} does not take evaluate.metrics.*{metric}"):
        with_settings(task_of(tmp_path, kind), config)


def test_an_unknown_metric_is_the_only_thing_that_is_wrong(tmp_path: Path) -> None:
    config = configure(None, {"evaluate.metrics": ["rouge9"]})
    with pytest.raises(UsageError, match="unknown metric 'rouge9'") as caught:
        with_settings(task_of(tmp_path, "generate"), config)
    assert "at least 1 item" not in str(caught.value)


def test_several_samples_want_other_draws(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"samples.*set its strategy to sampling"):
        with_settings(task_of(tmp_path, "generate"), configure(None, {"evaluate.samples": 4}))


def test_draws_follow_from_the_seed_of_the_run(tmp_path: Path) -> None:
    task, settings = task_of(tmp_path, "generate"), {"evaluate.decoding": OTHER["decoding"]}
    first, second = (
        with_settings(task, configure(None, {**settings, "seed": seed})) for seed in (0, 1)
    )
    assert isinstance(first, GenerationTask)
    assert isinstance(second, GenerationTask)
    assert isinstance(first.decoding, Sampling)
    assert first.decoding != second.decoding


def test_built_in_tasks_are_as_published_where_nothing_is_set() -> None:
    config = configure(None, {})
    for task in select_tasks(["glue", "superglue", "gsm8k", "lambada", "wikitext2"]).tasks:
        assert with_settings(task, config) is task


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {"output": str(tmp_path / "runs"), "evaluate.resamples": 100, "model.dtype": "float32"}


def test_settings_reach_what_is_measured(
    tmp_path: Path, settings: dict[str, Any], tiny_gpt2: Path
) -> None:
    own, shown = written(tmp_path, "generate"), io.StringIO()
    chosen = {
        "evaluate.metrics": ["chrf"],
        "evaluate.max_new_tokens": 3,
        "evaluate.decoding.strategy": "sampling",
    }
    plain, changed = (
        luthier.benchmark([tiny_gpt2], [own], None, {**settings, **more}, Console(shown))[0]
        for more in ({}, chosen)
    )
    assert [metric.name for metric in plain.evaluations[0].metrics] == ["em"]
    assert [metric.name for metric in changed.evaluations[0].metrics] == ["chrf"]
    assert changed.evaluations[0].generated_tokens <= 3 * len(ROWS)
    assert plain.evaluations[0].generated_tokens > 3 * len(ROWS)
    assert plain.evaluations[0].template != changed.evaluations[0].template
    answers = [load_evaluation(one.run, "own-generate").samples for one in (plain, changed)]
    stop = next(s.prediction[0] for s in answers[0] if s.prediction)
    (stopped,) = luthier.benchmark(
        [tiny_gpt2], [own], None, {**settings, "evaluate.stop": [stop]}, Console(quiet=True)
    )
    assert all(
        stop not in sample.prediction
        for sample in load_evaluation(stopped.run, "own-generate").samples
    )


def test_a_suite_says_that_its_metrics_were_replaced(
    tmp_path: Path,
    settings: dict[str, Any],
    tiny_gpt2: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "glue" / "RTE"
    folder.mkdir(parents=True)
    rows = "".join(f"{n}\tIt is {n}.\tIs it?\tentailment\n" for n in range(4))
    (folder / "dev.tsv").write_text("index\tsentence1\tsentence2\tlabel\n" + rows, encoding="utf-8")
    monkeypatch.setenv("LUTHIER_DATA", str(tmp_path))
    shown = io.StringIO()
    chosen = {**settings, "evaluate.metrics": ["acc_norm"]}
    (result,) = luthier.benchmark([tiny_gpt2], ["glue"], None, chosen, Console(shown))
    assert [metric.name for metric in result.evaluations[0].metrics] == ["acc_norm"]
    assert result.suites[0].format == "lm-eval, metrics acc_norm"
    assert "scores differ from the published ones" in shown.getvalue()
    chosen = {**settings, "evaluate.max_new_tokens": 5}
    with pytest.raises(UsageError, match=r"mmlu/.* does not take evaluate.max_new_tokens"):
        luthier.benchmark([tiny_gpt2], ["mmlu"], None, chosen, Console(shown))


def test_more_answers_than_there_will_be_are_refused_before_anything_runs(
    tmp_path: Path, parity_file: Path, tiny_gpt2: Path
) -> None:
    """pass@k of fewer than k answers has no estimate, and one answer for each k has."""
    draws = {"decoding": OTHER["decoding"], "samples": 2}
    own = written(tmp_path, "generate")
    base = {
        "data.source": str(parity_file), "model.id": str(tiny_gpt2), "model.dtype": "float32",
        "output": str(tmp_path / "runs"), "evaluate.resamples": 100, "data.num_test": 3,
        "evaluate.max_new_tokens": 2,
    }  # fmt: skip

    def config(metric: str) -> RunConfig:
        return configure(None, {**base, "evaluate": {**draws, "metrics": [metric]}})

    quiet = Console(quiet=True)
    for metric in ("pass@3", "pass@3:numeric:last"):
        with pytest.raises(UsageError, match="needs 3 answers to each question, but there are 2"):
            luthier.evaluate(None, config(metric), console=quiet)
        with pytest.raises(UsageError, match="needs 3 answers to each question, but there are 2"):
            luthier.benchmark([], [own], config(metric), console=quiet)
    assert not (tmp_path / "runs").exists()
    result = luthier.evaluate(None, config("pass@2"), console=quiet)
    assert result.evaluation.metrics[0].name == "pass@2"
