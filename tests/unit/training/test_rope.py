"""Frequencies that follow the length of a text follow it in each step anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.resuming import assert_resumes_exactly


@pytest.fixture
def dynamic_llama(tiny_llama: Path, tmp_path: Path) -> Path:
    """A Llama whose frequencies change where a text and the soft prompt exceed the window."""
    folder = shutil.copytree(tiny_llama, tmp_path / "dynamic")
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"rope_parameters": rope, "max_position_embeddings": 100}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def test_a_step_does_not_depend_on_how_long_earlier_texts_were(
    dynamic_llama: Path, small_tune: Any
) -> None:
    """transformers keeps the frequencies of the longest text so far."""
    assert_resumes_exactly(
        small_tune,
        "dynamic_llama",
        "prompt-tuning",
        {"batch_size": 1},
        settings={"virtual_tokens": 20},
    )
