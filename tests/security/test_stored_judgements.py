"""A stored win rate is computed again from the pairs beside it before a report is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.security.test_stored_figures import changed, is_believed, places, said
from tests.unit.api.test_judge import judging, longer

import luthier as package
from luthier.cli.main import run as luthier
from luthier.core.console import Console
from luthier.records.run_directory import RunDirectory

ON_TRUST = {"parameters", "confidence", "seed", "resamples"}
"""The size of the judge; and how an interval is drawn, which is a choice: it is drawn so again."""


@pytest.fixture
def judged(copied: Path, loopback: Any) -> Path:
    """A ladder of which a rung was judged: the judgement."""
    runs = [copied / "rungs/zero-shot", copied / "rungs/lora"]
    package.judge(runs, None, judging(loopback, longer), Console(quiet=True))
    (path,) = RunDirectory(runs[1]).judgements()
    return path


def test_every_number_of_a_judgement_is_checked(judged: Path) -> None:
    run, original = RunDirectory(judged.parent.parent), judged.read_text()
    assert is_believed(run)
    believed = set()
    for place in places(json.loads(original)):
        value = json.loads(original)
        for key in place:
            value = value[key]
        changed(judged, place, value + (1 if isinstance(value, int) else 0.125))
        if is_believed(run):
            believed.add(str(place[-1]))
        judged.write_text(original)
    assert believed <= ON_TRUST, believed - ON_TRUST


def test_both_values_are_named(judged: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = changed(judged, ("wins",), 999)
    assert luthier(["report", str(judged.parents[3])]) == 3
    told = said(capfd)
    assert f"judgement, wins: 999 is stored, but what it is made of gives {before}" in told
    assert judged.name in told
    assert "judge again" in told


@pytest.mark.parametrize("how", ["gone", "empty", "no verdict", "another verdict", "fewer"])
def test_pairs_that_are_no_pairs_are_refused(
    how: str, judged: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    beside = judged.with_suffix(".pairs.jsonl")
    lines = beside.read_text().splitlines(keepends=True)
    first = json.loads(lines[0])
    first["extracted"] = (
        {"agree": "yes"} if how == "no verdict" else {"outcome": "won", "agree": ""}
    )
    spoilt = json.dumps(first) + "\n"
    text = {"empty": "", "fewer": "".join(lines[1:])}.get(how, "".join([spoilt, *lines[1:]]))
    beside.unlink()
    if how != "gone":
        beside.write_text(text)
    assert luthier(["report", str(judged.parents[3])]) == 3
    told = said(capfd)
    assert "Traceback" not in told
    assert "judgements" in told


def test_judgements_of_earlier_versions_are_checked_as_far_as_they_tell(judged: Path) -> None:
    document = json.loads(judged.read_text())
    for name in ("seed", "resamples"):
        del document[name]
    judged.write_text(json.dumps(document))
    run = RunDirectory(judged.parent.parent)
    assert is_believed(run)
    changed(judged, ("win_rate", "value"), 0.123)
    assert not is_believed(run)


def test_a_judgement_that_is_sound_is_told_as_before(judged: Path) -> None:
    assert luthier(["report", str(judged.parents[3])]) == 0
