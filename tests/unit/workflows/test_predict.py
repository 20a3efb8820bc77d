"""Prediction: new rows are answered as an evaluation answered them, whatever the batch."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.config.stored import stored_config
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.data.dataset import load_dataset
from luthier.evaluation.store import load_samples
from luthier.records.evaluation import SampleRecord
from luthier.records.run_directory import RunDirectory
from luthier.workflows import predict as workflow

QUIET = Console(quiet=True)
TEAMS = ("account", "billing", "technical", "shipping")
TASK = """\
system: You sort tickets.
prompt: |
  {{ customer }} writes: {{ ticket }}
  Team:
label: "{{ team }}"
choices: {account: account, billing: billing, technical: technical, shipping: the shipping team}
metrics: [accuracy]
"""
WORDS = ("parcel", "login", "invoice", "export", "refund", "phone", "door", "screen")


@pytest.fixture(scope="module")
def lively(load_lively: Any, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose answers differ by prompt."""
    folder = tmp_path_factory.mktemp("lively") / "model"
    loaded = load_lively(tiny_llama)
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tickets with their teams, a task for them, and open questions."""
    folder = tmp_path_factory.mktemp("tickets")
    (folder / "team.yaml").write_text(TASK, encoding="utf-8")
    rows = [
        (
            f"C{number % 17}",
            f"My {WORDS[number % 8]} {number} is gone" + ", and again" * (number % 5) + ".",
            TEAMS[(number * 7) % 4],
        )
        for number in range(60)
    ]
    with (folder / "tickets.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("customer", "ticket", "team"), *rows])
    lines = ({"prompt": f"{who}: {text}", "completion": team} for who, text, team in rows)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "open.jsonl").write_text(text, encoding="utf-8")
    return folder


Adapt = Callable[..., RunDirectory]


@pytest.fixture(scope="module")
def adapt(place: Path, lively: Path, one_thread: None) -> Adapt:
    made: dict[str, RunDirectory] = {}

    def run(data: str, **changes: Any) -> RunDirectory:
        key = json.dumps([data, changes], sort_keys=True, default=str)
        if key not in made:
            settings = {
                "data.source": str(place / data),
                "data.test_fraction": 0.3,
                "model.id": str(lively),
                "model.dtype": "float32",
                "evaluate.general_text": None,
                "evaluate.resamples": 200,
                "train.batch_size": 8,
                "train.epochs": 1,
                "methods.lora.learning_rate": 0.01,
                "adapt.rungs": ["zero-shot", "few-shot", "lora"],
                "output": str(place / "runs"),
                "name": f"run-{len(made)}",
                **changes,
            }
            made[key] = luthier.adapt(None, settings, QUIET).run
        return made[key]

    return run


def closed(adapt: Adapt, place: Path, **changes: Any) -> RunDirectory:
    return adapt("tickets.csv", **{"prompt.template": str(place / "team.yaml"), **changes})


def opened(adapt: Adapt, **changes: Any) -> RunDirectory:
    return adapt("open.jsonl", **{"evaluate.max_new_tokens": 6, **changes})


def stored(run: RunDirectory, rung: str) -> dict[int, SampleRecord]:
    """The samples of a rung's evaluation, by the number of their row, from 0."""
    own = RunDirectory.open(run.path / "rungs" / rung)
    config = stored_config(own)
    dataset = load_dataset(config.data, config.prompt, config.seed, QUIET)
    header = config.data.source.endswith(".csv")
    numbers = [int(each.where.rpartition(":")[2]) - 1 - header for each in dataset.test]
    return dict(zip(numbers, load_samples(own, dataset.task), strict=True))


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("rung", ["zero-shot", "few-shot", "lora"])
@pytest.mark.parametrize("chat", ["auto", "never"])
def test_choices_equal_those_of_the_evaluation(
    adapt: Adapt, place: Path, rung: str, chat: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = closed(adapt, place, **{"prompt.chat_template": chat})
    expected = stored(run, rung)
    assert len({sample.likelihoods for sample in expected.values()}) > 1
    assert rung == "lora" or len({sample.prediction for sample in expected.values()}) > 1
    monkeypatch.setattr(workflow, "CHUNK", 11)
    model = luthier.load(run.path, rung, overrides={"evaluate.batch_tokens": 300})
    answers = model.predict(place / "tickets.csv")
    for number, sample in expected.items():
        answer = answers[number]
        assert answer.text == sample.prediction
        ratios = [math.log(answer.probabilities[choice]) for choice in sample.choices]
        apart = [a - b for a, b in zip(ratios, sample.likelihoods, strict=True)]
        assert max(apart) - min(apart) < 1e-4
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.probability == max(answer.probabilities.values())


def test_calibrated_choices_equal_those_of_the_evaluation(adapt: Adapt, place: Path) -> None:
    run = closed(adapt, place, **{"evaluate.calibrate": True})
    for rung in ("zero-shot", "few-shot"):
        answers = luthier.load(run.path, rung).predict(place / "tickets.csv")
        for number, sample in stored(run, rung).items():
            assert answers[number].text == sample.prediction


@pytest.mark.parametrize("rung", ["zero-shot", "few-shot", "lora"])
@pytest.mark.parametrize("chat", ["auto", "never"])
def test_open_answers_equal_those_of_the_evaluation(
    adapt: Adapt, place: Path, rung: str, chat: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened(adapt, **{"prompt.chat_template": chat})
    expected = stored(run, rung)
    monkeypatch.setattr(workflow, "CHUNK", 13)
    model = luthier.load(run.path, rung, overrides={"evaluate.batch_tokens": 200})
    answers = model.predict(place / "open.jsonl")
    assert {n: (answers[n].text, answers[n].finish) for n in expected} == {
        n: (sample.prediction, sample.finish) for n, sample in expected.items()
    }
    assert len({answer.text for answer in answers}) > 1


def test_generated_choices_equal_those_of_the_evaluation(adapt: Adapt, place: Path) -> None:
    run = closed(
        adapt, place,
        **{"evaluate.choices": "generation", "adapt.rungs": ["few-shot"],
           "prompt.chat_template": "never"},
    )  # fmt: skip
    answers = luthier.load(run.path, "few-shot").predict(place / "tickets.csv")
    for number, sample in stored(run, "few-shot").items():
        assert (answers[number].text, answers[number].probability) == (sample.prediction, None)


@pytest.mark.parametrize("rung", ["majority", "linear"])
def test_baselines_equal_those_of_the_evaluation(
    adapt: Adapt, place: Path, rung: str, tmp_path: Path
) -> None:
    run = closed(adapt, place, **{"prompt.chat_template": "auto"})
    model = luthier.load(Path(shutil.copytree(run.path, tmp_path / "moved")), rung)
    answers = model.predict(place / "tickets.csv")
    for number, sample in stored(run, rung).items():
        assert answers[number].text == sample.prediction
        shares = [answers[number].probabilities[choice] for choice in sample.choices]
        assert shares == pytest.approx([math.exp(score) for score in sample.likelihoods], abs=1e-6)
    other = Path(shutil.copytree(run.path / "rungs" / rung, tmp_path / "other"))
    with pytest.raises(DataError, match="called as the baseline"):
        luthier.load(other)


def test_an_open_baseline_equals_that_of_the_evaluation(adapt: Adapt, place: Path) -> None:
    run = opened(adapt, **{"prompt.chat_template": "auto"})
    answers = luthier.load(run.path, "nearest").predict(place / "open.jsonl")
    for number, sample in stored(run, "nearest").items():
        assert (answers[number].text, answers[number].probability) == (sample.prediction, None)


def test_a_run_predicts_elsewhere_without_its_data(
    adapt: Adapt, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = closed(adapt, place, **{"prompt.chat_template": "auto"})
    rows = [{"customer": "C1", "ticket": "My door is gone."}]
    expected = luthier.load(run.path, "few-shot").predict(rows)
    moved = Path(shutil.copytree(run.path, tmp_path / "moved"))
    monkeypatch.setattr("luthier.data.sources.find_path", lambda _source: None)
    monkeypatch.setattr("luthier.tasks.load.is_file", lambda _name: False)
    assert luthier.load(moved, "few-shot").predict(rows) == expected


def test_a_run_without_the_stored_files_uses_its_data_or_says_what_is_missing(
    adapt: Adapt, place: Path, tmp_path: Path
) -> None:
    run = closed(adapt, place, **{"prompt.chat_template": "auto"})
    rows = [{"customer": "C1", "ticket": "My door is gone."}]
    old = Path(shutil.copytree(run.path, tmp_path / "old"))
    for name in ("task.yaml", "prompting.json"):
        for path in old.glob(f"rungs/*/{name}"):
            path.unlink()
    for rung in ("zero-shot", "few-shot", "lora"):
        expected = luthier.load(run.path, rung).predict(rows)
        assert luthier.load(old, rung).predict(rows) == expected
    changed = {**given_of(run, place), "data.source": str(place / "fewer.csv")}
    (place / "fewer.csv").write_text("".join(lines_of(place / "tickets.csv")[:41]))
    with pytest.raises(DataError, match="not that of the run"):
        luthier.load(old, "few-shot", overrides=changed)
    config = old / "rungs" / "few-shot" / "config.yaml"
    text = config.read_text(encoding="utf-8").replace("tickets.csv", "gone.csv")
    config.write_text(text, encoding="utf-8")
    given = {"data.source": str(place / "gone.csv"), "model.id": str(place.parent)}
    with pytest.raises(DataError, match="stores no task") as caught:
        luthier.load(
            old, "few-shot", overrides=given | {"prompt.template": str(place / "team.yaml")}
        )
    assert "data.source" in caught.value.fix


def given_of(run: RunDirectory, place: Path) -> dict[str, Any]:
    """What the user must give for a run that was changed; the data is missing."""
    return {
        "data.source": str(place / "gone.csv"),
        "model.id": str(stored_config(run).model.id),
        "prompt.template": str(place / "team.yaml"),
    }


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def test_the_model_of_a_run_in_python(adapt: Adapt, place: Path) -> None:
    model = luthier.load(closed(adapt, place, **{"prompt.chat_template": "auto"}).path, "lora")
    assert model.columns == ("customer", "ticket")
    assert model.choices == ("account", "billing", "technical", "the shipping team")
    values = {"customer": "C1", "ticket": "My door is gone."}
    answer = model(values)
    assert model(**values) == answer
    assert str(answer) == answer.text in model.choices
    with pytest.raises(UsageError, match="'customer', 'ticket'"):
        model("My door is gone.")
    with pytest.raises(UsageError, match="one text"):
        model()
    with pytest.raises(DataError, match="customer"):
        model(ticket="My door is gone.")
    single = luthier.load(opened(adapt, **{"prompt.chat_template": "auto"}).path, "lora")
    assert single("C1: gone") == single({"prompt": "C1: gone"}) == single(prompt="C1: gone")
    with pytest.raises(DataError, match="2 problems"):
        model.predict([values, {**values, "ticket": None}, {"customer": "", "ticket": " "}])


def test_data_frames_keep_their_index_and_their_columns(adapt: Adapt, place: Path) -> None:
    pandas = pytest.importorskip("pandas")
    model = luthier.load(closed(adapt, place, **{"prompt.chat_template": "auto"}).path, "zero-shot")
    frame = pandas.DataFrame(
        {"ticket": ["My door.", "My phone."], "customer": ["C1", "C2"], "n": [1, 2]},
        index=["x", "y"],
    )
    made = model.predict(frame)
    assert list(made.index) == ["x", "y"]
    assert list(made.columns) == [
        "ticket", "customer", "n", "prediction", "probability",
        *(f"probability.{choice}" for choice in model.choices),
    ]  # fmt: skip
    assert made[["ticket", "customer", "n"]].equals(frame)
    pairs = zip(frame["customer"], frame["ticket"], strict=True)
    assert list(made["prediction"]) == [str(model(customer=c, ticket=t)) for c, t in pairs]
    with pytest.raises(UsageError, match="prediction"):
        model.predict(made)


def test_what_is_no_question_is_refused_in_words(adapt: Adapt, place: Path) -> None:
    model = luthier.load(closed(adapt, place, **{"prompt.chat_template": "auto"}).path, "zero-shot")
    for one in (3, b"x", ["a", "b"], [("customer", "C1")], object()):
        with pytest.raises(UsageError, match="a text or a mapping"):
            model(one)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="a text or a mapping") as refused:
            model.predict([{"customer": "C1", "ticket": "My door."}, one])
        assert refused.value.where == "row 2"
    for several in (None, 3, {"customer": "C1", "ticket": "My door."}, b"x"):
        with pytest.raises(UsageError, match="questions are a list"):
            model.predict(several)
    single = luthier.load(opened(adapt, **{"prompt.chat_template": "auto"}).path, "zero-shot")
    assert single.predict(["C1: gone", {"prompt": "C2: lost"}]) == [
        single("C1: gone"), single("C2: lost"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        ["customer", "ticket", "ticket"],
        ["customer", "ticket", "n", "n"],
        ["customer", "ticket", 1, "1"],
    ],
)
def test_two_columns_of_one_name_are_refused(
    adapt: Adapt, place: Path, names: list[object]
) -> None:
    pandas = pytest.importorskip("pandas")
    model = luthier.load(closed(adapt, place, **{"prompt.chat_template": "auto"}).path, "zero-shot")
    frame = pandas.DataFrame([[f"value {n}" for n in range(len(names))]], columns=names)
    with pytest.raises(DataError, match="two columns are called"):
        model.predict(frame)
