"""The facts and doubts at the top of a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from luthier.records.run_directory import RunDirectory
from luthier.reports.content import read_content
from luthier.reports.overview import main_facts, overview
from luthier.reports.rows import gains_note

HARDWARE = {"name": "H200", "cores": 16, "memory_bytes": 2**37}


def facts(run: RunDirectory, manifest: Mapping[str, Any]) -> dict[str, str]:
    return dict(main_facts(dataclasses.replace(read_content(run), manifest=manifest)))


def test_a_ladder_names_model_data_date_hardware_and_time(adapt_run: RunDirectory) -> None:
    manifest = {"created": "2026-11-30T22:12:06+00:00", "hardware": HARDWARE}
    assert facts(adapt_run, manifest) == {
        "model": "smollm2-135m-instruct",
        "data": "python-docstrings, 960 training examples",
        "tested on": "128 examples (test)",
        "date": "30 November 2026",
        "hardware": "H200, 16 cores, 128.0 GiB",
        "time": "15m 12s for all rungs",
    }


def test_examples_that_were_not_trained_on_are_not_counted(adapt_run: RunDirectory) -> None:
    content = read_content(adapt_run)
    assert content.ladder is not None
    rungs = tuple(
        rung.model_copy(update={"training": rung.training.model_copy(update={"examples": 939})})
        if rung.training
        else rung
        for rung in content.ladder.rungs
    )
    ladder = content.ladder.model_copy(update={"rungs": rungs})
    shown = dict(main_facts(dataclasses.replace(content, ladder=ladder)))
    assert shown["data"] == "python-docstrings, 939 training examples (21 more left out)"


@pytest.mark.parametrize(
    "manifest",
    [{}, {"created": 3, "hardware": "x"}, {"hardware": {"name": 3, "cores": "x"}},
     {"created": "yesterday", "hardware": {"memory_bytes": None}}],
)  # fmt: skip
def test_what_a_manifest_does_not_tell_is_left_out(
    tune_run: RunDirectory, manifest: dict[str, Any]
) -> None:
    assert set(facts(tune_run, manifest)) == {"model", "data", "tested on", "time"}


def test_a_run_without_a_ladder_has_its_doubts_at_the_top(tune_run: RunDirectory) -> None:
    content = read_content(tune_run)
    assert overview(content).warnings == ()
    (system,) = content.systems
    (measured,) = system.measured
    cut = measured.record.model_copy(update={"truncated_outputs": 40})
    measured = dataclasses.replace(measured, record=cut)
    system = dataclasses.replace(system, measured=(measured,))
    warnings = overview(dataclasses.replace(content, systems=(system,))).warnings
    assert warnings == (
        "python-docstrings: 40 of 128 answers were cut at the token limit; raise "
        "evaluate.max_new_tokens.",
    )


def test_a_share_of_right_answers_is_counted(tune_run: RunDirectory) -> None:
    content = read_content(tune_run)
    (system,) = content.systems
    (measured,) = system.measured
    right = measured.record.metrics[0].model_copy(update={"name": "accuracy", "value": 0.5})
    measured = dataclasses.replace(
        measured, record=measured.record.model_copy(update={"metrics": (right,)})
    )
    system = dataclasses.replace(system, measured=(measured,))
    assert overview(dataclasses.replace(content, systems=(system,))).headline == (
        "smollm2-135m-instruct, tuned with lora, gets 64 of 128 docstrings right "
        "(python-docstrings, test)."
    )


@pytest.mark.parametrize(
    ("low", "high", "p", "differs"),
    [(0.031, 0.250, 0.250, True), (-0.01, 0.2, 0.04, True), (0.03, 0.25, 0.01, False),
     (-0.1, 0.2, 0.3, False), (-0.3, -0.1, 1.0, False)],
)  # fmt: skip
def test_an_interval_that_seems_to_contradict_its_p_value_is_explained(
    adapt_run: RunDirectory, low: float, high: float, p: float, differs: bool
) -> None:
    ladder = read_content(adapt_run).ladder
    assert ladder
    first, second, *_ = ladder.rungs
    assert second.gain
    update = {"low": low, "high": high, "p_adjusted": p, "difference": (low + high) / 2}
    second = second.model_copy(update={"gain": second.gain.model_copy(update=update)})
    note = gains_note(ladder.model_copy(update={"rungs": (first, second)}))
    assert ("two-sided" in note) == differs
