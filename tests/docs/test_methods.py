"""The documents name every method."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.core.method_facts import METHOD_NAMES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_the_page_of_commands_names_the_method(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
