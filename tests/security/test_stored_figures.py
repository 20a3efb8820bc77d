"""A stored figure is computed again from what it was made of before it is believed or shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from luthier.api.configuration import configure
from luthier.cli.main import run as luthier
from luthier.config.stored import save_config
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.evaluation import evaluated_tasks, verified
from luthier.ladder.verify import verify_run
from luthier.records.run_directory import RunDirectory

QUIET = Console(quiet=True)
LORA = "{run}/rungs/lora"
BELIEVING = [
    ("report", "{run}"),
    ("report", LORA),
    ("compare", "{run}/rungs/zero-shot", LORA),
    ("compare", LORA, "{run}/rungs/zero-shot", "--html", "{run}/../page.html"),
    ("sample-size", "0.02", LORA),
    ("forgetting", LORA, "--before", "{run}/rungs/zero-shot"),
    ("judge", LORA, "--model", "{model}"),
    ("merge", LORA),
    ("push", LORA, "ada/router", "--dry-run", "--base", "ada/tiny"),
    ("resume", "{run}"),
]
"""Commands that show or use an evaluation that is stored."""


@pytest.fixture(autouse=True)
def nothing_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of its own."""
    monkeypatch.setattr(verified, "_verified", set())


@pytest.fixture
def own(copied: Path) -> Path:
    """The ladder, made by the user: its figures are looked at all the same."""
    for folder in (copied, *(copied / "rungs").iterdir()):
        run = RunDirectory(folder)
        save_config(run, configure(run.config))
    return copied


def changed(path: Path, where: Sequence[str | int], value: Any) -> Any:
    """Change one value of a JSON file; the value that it had."""
    document = json.loads(path.read_text())
    part = document
    for key in where[:-1]:
        part = part[key]
    before, part[where[-1]] = part[where[-1]], value
    path.write_text(json.dumps(document))
    return before


def evaluation(run: Path) -> Path:
    opened = RunDirectory(run)
    return opened.evaluation(evaluated_tasks(opened)[0])


def said(capfd: pytest.CaptureFixture[str]) -> str:
    return " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize("command", BELIEVING, ids=" ".join)
def test_every_command_that_believes_an_evaluation_checks_it(
    command: Sequence[str], own: Path, tiny_llama: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = changed(evaluation(own / "rungs/lora"), ("metrics", 0, "value"), 0.77)
    assert luthier([part.format(run=own, model=tiny_llama) for part in command]) == 3
    told = said(capfd)
    assert "0.77 is stored" in told
    assert f"gives {before:.10g}" in told


def places(values: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the numbers of a document stand."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from places(value, (*at, key))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from places(value, (*at, number))
    elif isinstance(values, int | float) and not isinstance(values, bool):
        yield at


def is_believed(run: RunDirectory) -> bool:
    try:
        verify_run(run, QUIET)
    except DataError:
        return False
    return True


ON_TRUST = {
    "seconds", "generated_tokens", "prompt_tokens", "truncated_outputs", "cut_prompts",
    "other_shots", "fewer_shots", "unfinished", "shots", "parameters", "train_seconds",
    "evaluate_seconds", "peak_memory_bytes", "confidence", "train", "validation",
}  # fmt: skip
"""Times, memory and counts of what is elsewhere, which follow from nothing that is stored. A level
is a choice, and the interval is recomputed at it."""


@pytest.mark.sample(2)
@pytest.mark.parametrize("file", ["evaluation", "ladder.json", "training.json", "forgetting.json"])
def test_every_number_that_follows_from_something_is_checked(file: str, own: Path) -> None:
    run = RunDirectory(own)
    path = {
        "evaluation": evaluation(own / "rungs/lora"),
        "ladder.json": run.ladder,
        "training.json": own / "rungs/lora/training.json",
        "forgetting.json": own / "rungs/lora/forgetting.json",
    }[file]
    original = path.read_text()
    believed = set()
    for place in places(json.loads(original)):
        value = json.loads(original)
        for key in place:
            value = value[key]
        changed(path, place, value + (1 if isinstance(value, int) else 0.125))
        if is_believed(run):
            believed.add(next(str(key) for key in reversed(place) if isinstance(key, str)))
        path.write_text(original)
    assert believed <= ON_TRUST, believed - ON_TRUST
    assert luthier(["report", str(own)]) == 0


def test_a_changed_rung_is_not_kept(own: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = own / "rungs/zero-shot/rung.json"
    before = changed(path, ("record", "metric", "value"), 0.99)
    (own / "ladder.json").unlink()
    assert luthier(["resume", str(own)]) == 3
    told = said(capfd)
    assert "0.99 is stored" in told
    assert f"{before:.10g}" in told
    assert "rung.json" in told
    path.unlink()
    assert luthier(["resume", str(own)]) == 0


def test_a_changed_score_of_a_sample_is_named(own: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = evaluation(own / "rungs/lora").with_suffix(".samples.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    name = next(iter(lines[2]["scores"]))
    lines[2]["scores"][name] += 0.5
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert luthier(["report", str(own)]) == 3
    assert "samples.jsonl:3" in said(capfd)


def test_a_changed_answer_is_noticed(own: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = evaluation(own / "rungs/lora").with_suffix(".samples.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["prediction"] = line["references"][0]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert luthier(["report", str(own)]) == 3
    assert "what it is made of gives" in said(capfd)


LORA_EVALUATION = "rungs/lora/evaluation/*[!s].json"
LORA_SAMPLES = "rungs/lora/evaluation/*.samples.jsonl"
ABSURD: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("ladder.json", ("rungs", 0, "metric", "detectable"), 0.01),
    ("ladder.json", ("rungs", 1, "train_seconds"), 1e308),
    ("ladder.json", ("rungs", 1, "evaluate_seconds"), -1.0),
    ("ladder.json", ("rungs", 0, "status"), "failed"),
    ("ladder.json", ("rungs", 0, "peak_memory_bytes"), 10**30),
    ("ladder.json", ("rungs",), []),
    ("rungs/lora/training.json", ("seconds",), -1e9),
    ("rungs/lora/training.json", ("steps",), -4),
    (LORA_EVALUATION, ("truncated_outputs",), 77),
    (LORA_EVALUATION, ("unfinished",), 5),
    (LORA_EVALUATION, ("cut_prompts",), -3),
    (LORA_EVALUATION, ("seconds",), -1.0),
    (LORA_EVALUATION, ("metrics", 0, "n"), -6),
    (LORA_SAMPLES, ("references",), []),
    (LORA_SAMPLES, ("group",), "\ud800"),
    ("rungs/lora/general.jsonl", ("value", "result", "tokens"), 0),
    ("rungs/lora/metrics.jsonl", ("loss",), 1e308),
    ("rungs/lora/metrics.jsonl", ("tokens",), 1e300),
]
"""A file, a place in it (in its first line, where it has lines), and what is written there."""


@pytest.mark.parametrize(("file", "place", "value"), ABSURD, ids=str)
def test_what_cannot_be_is_refused_with_the_file(
    file: str, place: tuple[str | int, ...], value: Any, own: Path, capfd: Any
) -> None:
    path = next(own.glob(file))
    first, *others = (
        path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    )
    path.write_text(first)
    changed(path, place, value)
    if others:
        path.write_text("\n".join([path.read_text(), *others]) + "\n")
    assert luthier(["report", str(own)]) == 3
    assert path.name in said(capfd)


def test_a_rung_that_is_left_out_of_the_ladder_is_missed(own: Path, capfd: Any) -> None:
    document = json.loads((own / "ladder.json").read_text())
    del document["rungs"][-1]
    (own / "ladder.json").write_text(json.dumps(document))
    assert luthier(["report", str(own)]) == 3
    assert "rungs" in said(capfd)


@pytest.mark.parametrize("lost", ["metrics.jsonl", "events.jsonl", "general.jsonl"])
def test_what_cannot_be_checked_is_said(lost: str, own: Path, capfd: Any) -> None:
    (own / "rungs/lora" / lost).write_text("")
    assert luthier(["report", str(own)]) == 0
    assert "shown as stored" in said(capfd)


def test_a_suite_of_other_tasks_is_refused(own: Path, capfd: Any) -> None:
    run = own / "rungs/lora"
    (run / "suites").mkdir()
    score = json.loads(evaluation(run).read_text())["metrics"][0] | {"name": "glue"}
    suite = {"suite": "glue", "format": "", "shots": [0], "scores": [score]}
    tasks = {"tasks": [evaluation(run).stem]}
    (run / "suites/glue.json").write_text(json.dumps(suite | tasks))
    assert luthier(["report", str(own)]) == 3
    assert "glue" in said(capfd)


def test_words_of_the_recommendation_are_made_again(
    own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    changed(own / "ladder.json", ("recommendation", "sentence"), "Use full: it is perfect.")
    assert luthier(["report", str(own)]) == 3
    assert "Use full" in said(capfd)


def test_an_unknown_metric_is_not_believed(own: Path, capfd: pytest.CaptureFixture[str]) -> None:
    changed(evaluation(own / "rungs/lora"), ("metrics", 0, "name"), "superscore")
    assert luthier(["report", str(own / "rungs/lora")]) == 3
    assert "'superscore' cannot be recomputed" in said(capfd)


def test_an_evaluation_under_another_name_is_refused(
    own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = evaluation(own / "rungs/lora")
    for each in (path, path.with_suffix(".samples.jsonl")):
        shutil.copy(each, each.with_name(each.name.replace(path.stem, "glue-rte")))
    assert luthier(["report", str(own)]) == 3
    assert "this is not the file of" in said(capfd)


def test_a_changed_loss_of_the_training_is_named(
    own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = own / "rungs/lora/metrics.jsonl"
    lines = path.read_text().splitlines()
    last = json.loads(lines[-1])
    path.write_text("\n".join([*lines[:-1], json.dumps({**last, "loss": 0.0001})]) + "\n")
    assert luthier(["report", str(own)]) == 3
    assert "last_loss" in said(capfd)


def test_records_of_earlier_versions_are_read(own: Path) -> None:
    path = evaluation(own / "rungs/lora")
    document = json.loads(path.read_text())
    for name in ("seed", "resamples"):
        del document[name]
    for metric in document["metrics"]:
        del metric["standard_error"], metric["detectable"]
    path.write_text(json.dumps(document))
    assert luthier(["report", str(own / "rungs/lora")]) == 0


def test_an_interval_of_other_draws_is_right_with_its_own_settings(
    own: Path, tmp_path: Path
) -> None:
    settings = ["evaluate.resamples=123", "evaluate.confidence=0.8"]
    assert luthier(["evaluate", str(own / "rungs/lora"), *settings]) == 0
    verified._verified.clear()
    assert luthier(["report", str(own / "rungs/lora")]) == 0
