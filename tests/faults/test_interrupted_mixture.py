"""A tuning on a mixture draws on where it was killed, bit for bit."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.core.console import Console
from luthier.core.errors import DataError
from luthier.core.files import read_lines

RESUMES = 2


@pytest.fixture(scope="module")
def tuning_settings(
    tuning_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Three sources of different sizes, of which the smallest is repeated."""
    folder = tmp_path_factory.mktemp("mixture")
    for name, count in (("sum", 60), ("size", 30), ("sign", 12)):
        rows = [
            {"prompt": f"the {name} of {number} and {number % 7}", "completion": f"{number % 5}"}
            for number in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = [f"  - source: {name}.jsonl" for name in ("sum", "size", "sign")]
    mixture = ["sources:", *lines, "rates: equal", "draws: 160"]
    (folder / "mix.yaml").write_text("\n".join(mixture))
    chosen = {**tuning_settings, "data.source": str(folder / "mix.yaml"), "train.epochs": "auto"}
    return {**chosen, "data.near_duplicates": "off"}


@pytest.mark.sample(2)
@pytest.mark.parametrize("number", range(20))
def test_killed_in_a_mixture_and_resumed_twice(
    number: int, make_tuning: Any, undisturbed: Any
) -> None:
    reference, _ = undisturbed
    last = len(reference.losses())
    assert last == 160 // 4
    tuning, draw = make_tuning(), random.Random(number)
    for step in sorted(draw.sample(range(1, last - 4), RESUMES)):
        code = tuning.stop(lambda step=step: tuning.steps >= step, signal.SIGKILL)
        assert code == -signal.SIGKILL
    assert tuning.finish() == 0, tuning.log
    assert tuning.outcome() == reference.outcome()


def test_the_record_has_the_sources_of_the_mixture(undisturbed: Any) -> None:
    reference, _ = undisturbed
    record = json.loads((Path(reference.run) / "training.json").read_text())
    assert record["epochs"] == 1
    assert record["steps"] == 40


def test_the_validation_loss_of_each_source_is_logged(undisturbed: Any) -> None:
    reference, _ = undisturbed
    lines = [one for one in read_lines(reference.run / "events.jsonl") if "sources" in one]
    assert [line["event"] for line in lines] == ["validation"] * 4
    for line in lines:
        losses = line["sources"]
        assert set(losses) == {"sum", "size", "sign"}
        assert min(losses.values()) < line["loss"] < max(losses.values())
    assert lines[-1]["sources"] != lines[0]["sources"]


def test_rows_of_a_mixture_have_no_single_task(undisturbed: Any, tmp_path: Path) -> None:
    reference, _ = undisturbed
    new = tmp_path / "new.jsonl"
    new.write_text('{"prompt": "the sum of 3 and 4"}')
    with pytest.raises(DataError, match="no single task") as caught:
        luthier.predict(reference.run, new, tmp_path / "out.jsonl", Console(quiet=True))
    assert "evaluate RUN --tasks" in caught.value.fix
