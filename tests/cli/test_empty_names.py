"""What is given as nothing is refused: it would be taken for what was not given at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("evaluate", "MODEL", "--tasks", ""), "no task ''"),
        (("evaluate", "MODEL", "--tasks", ",,,"), "no task ''"),
        (("data", "show", "--data", ""), "data.source: "),
        (("tune", "--model", ""), "model.id: "),
        (("models", "pull", ""), "model.id: "),
        (("prompt", "--input", "hi", "--model", ""), "model.id: "),
    ],
)
def test_empty_names(
    call: Call, tiny_llama: Path, in_tmp_path: Path, command: tuple[str, ...], says: str
) -> None:
    outcome = call(*(str(tiny_llama) if word == "MODEL" else word for word in command))
    assert outcome.code in (2, 3)
    assert says in outcome.err


TASK = """\
name: mine
about: a task of one's own
metrics: [exact_match]
kind: generate
prompt: "{{ q }}"
completion: "{{ a }}"
"""


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('files: {splits: {test: ""}}', "mine.yaml"),
        ("files: {splits: {test: .}}", "found no data for the split 'test' of mine"),
        ("files: {splits: {test: /}}", "found no data for the split 'test' of mine"),
        ("files: {splits: {test: a.jsonl}}\ndecoding: {strategy: beam, num_beams: 1000000000}",
         "num_beams"),
    ],
)  # fmt: skip
def test_task_files(call: Call, tiny_llama: Path, in_tmp_path: Path, more: str, says: str) -> None:
    Path("mine.yaml").write_text(TASK + more)
    outcome = call("evaluate", str(tiny_llama), "--tasks", "mine.yaml", "model.dtype=float32")
    assert outcome.code in (2, 3)
    assert says in outcome.err


def test_beams_are_bounded(call: Call, tiny_llama: Path, in_tmp_path: Path) -> None:
    beams = ("evaluate.decoding.strategy=beam", "evaluate.decoding.num_beams=1000000000")
    outcome = call("evaluate", str(tiny_llama), *beams)
    assert (outcome.code, "num_beams" in outcome.err) == (2, True)
