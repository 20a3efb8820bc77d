"""The number of training examples is that of what was trained on."""

from __future__ import annotations

import pytest
from tests.records import training_record

from luthier.records.ladder import LadderRecord
from luthier.reports.facts import _trained_on


@pytest.mark.parametrize(("trained", "said"), [(939, "trained on 939, since 21 "), (960, "")])
def test_what_was_left_out_of_training_is_said(
    ladder: LadderRecord, trained: int, said: str
) -> None:
    record = training_record(examples=trained)
    rungs = tuple(
        rung.model_copy(update={"training": record}) if rung.training else rung
        for rung in ladder.rungs
    )
    assert any(rung.training for rung in rungs)
    shown = _trained_on(ladder.model_copy(update={"rungs": rungs}))
    assert said in shown
    assert bool(shown) == bool(said)
