"""Comparisons with other libraries on a machine that lacks one of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ROW = {"settings": {"micro_batch": 1}, "tokens_per_second": 1.0}


@pytest.fixture
def tuning(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/tuning.py, which is a script and no package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import tuning

    return tuning


def write(path: Path, *contenders: str) -> Path:
    rows = [ROW | {"contender": name} for name in contenders]
    path.write_text(json.dumps({"kinds": [{"kind": "lora", "tried": rows}]}))
    return path


def case(tuning: ModuleType, contender: str) -> Any:
    common = {"kind": "lora", "model": "-", "examples": "-", "dtype": "float32", "threads": 1}
    numbers = {"batch": 1, "steps": 1, "learning_rate": 1.0, "micro_batch": 1}
    return tuning.Case(contender=contender, **common, **numbers)


def test_a_library_that_was_tried_before_and_is_missing_is_left_out(
    tuning: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = write(tmp_path / "earlier.json", "luthier", "transformers", "no-such-library")
    rows = tuning._tried(earlier, "lora")
    assert [row["contender"] for row in rows] == ["luthier", "transformers"]
    assert "no-such-library is not installed and is left out" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no settings of full"):
        tuning._tried(earlier, "full")


def test_a_library_that_does_not_run_is_left_out(
    tuning: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where it is installed without a package that it needs."""
    cases = {"no-such-library": case(tuning, "no-such-library")}
    assert tuning._in_turns(cases, rounds=2) == {}
    assert capsys.readouterr().err.count("no-such-library 1 does not run") == 1


def test_nothing_to_compare_with_is_said(tuning: ModuleType) -> None:
    common = case(tuning, "-").model_dump(exclude={"contender", "steps", "micro_batch"})
    tried = [ROW | {"contender": "no-such-library"}]
    with pytest.raises(SystemExit, match="only these run: none"):
        tuning._measured(common, tried, 1, 1)
