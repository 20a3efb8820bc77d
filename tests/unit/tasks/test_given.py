"""A YAML file given to a command is a task or a configuration, by its keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.api.configuration import load_given
from luthier.core.errors import UsageError
from luthier.tasks.given import is_task_file

TASK = "prompt: '{{ x }}'\nlabel: '{{ y }}'\nchoices: {a: a, b: b}\nmetrics: accuracy\n"


@pytest.mark.parametrize(
    ("text", "is_task"),
    [
        (TASK, True),
        ("kind: suite\nname: x\ntasks: [a]\n", True),
        ("files: rows.csv\n", True),
        ("prompt: Where?\n", True),
        ("name: mine\nwordings: {a: {}}\n", True),
        ("kind: nothing\n", True),
        ("data: {source: x.csv}\n", False),
        ("prompt: {shots: 2}\n", False),
        ("name: mine\n", False),
        ("name: mine\nseed: 3\n", False),
        ("nothing: 3\n", False),
        ("", False),
    ],
)
def test_its_keys_decide(text: str, is_task: bool, tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(text)
    assert is_task_file(path) == is_task


@pytest.mark.parametrize("more", ["train: {epochs: 2}\n", "seed: 3\n", "data: {source: x}\n"])
def test_a_mixture_is_refused(more: str, tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(TASK + more)
    with pytest.raises(UsageError, match="mixes a task") as caught:
        is_task_file(path)
    assert caught.value.where == f"{path}:5"
    assert more.split(":", maxsplit=1)[0] in caught.value.problem


def test_a_task_is_the_data_or_the_template_of_other_data(tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(TASK)
    alone = load_given(path, ["seed=3"])
    assert (alone.data.source, alone.prompt.template, alone.seed) == (str(path), None, 3)
    for beside in (
        load_given(path, flags={"data.source": "x.csv"}),
        load_given(path, ["data.source=x.csv"]),
    ):
        assert (beside.data.source, beside.prompt.template) == ("x.csv", str(path))
