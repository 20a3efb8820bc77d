"""A mixture's file becomes one data set whose examples know their source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luthier.config.data import DataConfig
from luthier.config.prompt import PromptConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.data.dataset import Dataset
from luthier.data.mixture.load import load_data
from luthier.tasks.mixture import mixture_called

NOUNS = ("bow", "scroll", "bridge", "peg", "rib", "neck", "plate", "post", "string", "purfling")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, verb in (("make", "carve"), ("mend", "repair")):
        rows = [
            {
                "prompt": f"How does one {verb} the {noun} {k}?",
                "completion": f"{noun} {k}",
            }
            for k, noun in enumerate(NOUNS * 4)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def load(folder: Path, text: str, **data: object) -> Dataset:
    (folder / "mix.yaml").write_text(text)
    own = {"near_duplicates": "off", "source": str(folder / "mix.yaml"), **data}
    config = DataConfig.model_validate(own)
    return load_data(config, PromptConfig(), 0, Console(quiet=True))


BOTH = "sources:\n  - source: make.jsonl\n  - source: mend.jsonl\n"


def test_examples_know_their_source(folder: Path) -> None:
    found = load(folder, BOTH)
    assert found.mixture is not None
    assert (found.task, found.format) == ("mix", "mixture")
    names = [example.source for example in found.train]
    assert sorted(set(names)) == ["make", "mend"]
    assert names == sorted(names)  # source by source
    for split in (found.train, found.validation, found.test):
        assert {example.source for example in split} == {"make", "mend"}
        assert all(example.id.startswith(f"{example.source}/") for example in split)
    assert load(folder, BOTH).fingerprint == found.fingerprint
    assert load(folder, BOTH + "rates: equal\n").fingerprint != found.fingerprint


def test_sources_are_limited_and_named(folder: Path) -> None:
    text = (
        "sources:\n  - {source: make.jsonl, num_train: 7, name: violins}\n  - source: make.jsonl\n"
        "  - {source: make.jsonl}\n"
    )
    found = load(folder, text, num_validation=6)
    names = [example.source for example in found.train]
    assert names.count("violins") == 7
    assert set(names) == {"violins", "make", "make-2"}
    assert len(found.validation) == 6


def test_plain_text_is_trained_and_validated_but_not_tested(folder: Path) -> None:
    texts = [{"text": f"The {noun} of a violin, part {k}."} for k, noun in enumerate(NOUNS * 4)]
    (folder / "text.jsonl").write_text("\n".join(map(json.dumps, texts)))
    found = load(folder, BOTH + "  - source: text.jsonl\n")
    for split in (found.train, found.validation):
        assert {example.source for example in split} == {"make", "mend", "text"}
    assert {example.source for example in found.test} == {"make", "mend"}


def test_a_file_without_sources_is_no_mixture(folder: Path) -> None:
    (folder / "task.yaml").write_text("kind: generate\nprompt: x\n")
    assert mixture_called(str(folder / "task.yaml")) is None
    assert mixture_called(str(folder / "make.jsonl")) is None
    assert mixture_called(str(folder / "missing.yaml")) is None


@pytest.mark.parametrize(
    ("text", "data", "said"),
    [
        (BOTH, {"num_train": 5}, "does not use data.num_train"),
        (BOTH, {"replay": 0.2}, "does not use data.replay"),
        ("sources: []\n", {}, "mix.yaml:1"),
        ("sources:\n  - sorce: make.jsonl\n", {}, "sorce"),
        ("sources:\n  - source: nowhere.jsonl\n", {}, "nowhere.jsonl"),
        ("sources:\n  - source: mkae.jsonl\n", {}, "did you mean"),
        (BOTH + "temperature: hot\n", {}, "mix.yaml:4"),
    ],
)
def test_mistakes_are_named(folder: Path, text: str, data: dict[str, object], said: str) -> None:
    with pytest.raises((UsageError, DataError)) as caught:
        load(folder, text, **data)
    assert said in f"{caught.value} {caught.value.where} {caught.value.fix}"
