"""The page on data formats: its rows are read as it says, and it names all there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from luthier.config.data import DataConfig
from luthier.core.row import Row
from luthier.data.flag_names import FLAGS, WEIGHTS
from luthier.data.row_shapes import FORMATS, detect
from luthier.data.turns import REASONING_KEYS, ROLE_KEYS, ROLES, TEXT_KEYS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "data-formats.md").read_text(
    encoding="utf-8"
)
BLOCKS = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ROWS = [line for block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize("line", ROWS)
def test_rows_are_read_and_what_is_wrong_is_not_trained(line: str) -> None:
    values = json.loads(line)
    example = detect(values).convert(Row(values, "page"))
    turns = (*example.messages, example.trained_answer) if example.weight else ()
    trained = [one.content for one in turns if one.role == "assistant" and one.is_trained]
    assert not any("wrong" in text for text in trained)
    assert bool(trained) or "wrong" in line
    assert bool(example.tools) == any(turn.tool_calls for turn in example.messages)


def test_each_part_has_rows() -> None:
    assert [len(block.splitlines()) for block in BLOCKS] == [7, 5, 3]
    assert {detect(json.loads(line)).name for line in ROWS} == set(FORMATS)


def test_all_names_are_there() -> None:
    formats = set(get_args(DataConfig.model_fields["format"].annotation)) - {"auto"}
    names = {*formats, *ROLES, *ROLE_KEYS, *TEXT_KEYS, *REASONING_KEYS, *FLAGS, *WEIGHTS}
    assert {name for name in names if f"`{name}`" not in PAGE} == set()


def test_settings_exist() -> None:
    settings = set(re.findall(r"\bdata\.(\w+)", PAGE))
    assert len(settings) >= 8
    assert settings <= set(DataConfig.model_fields)
