"""The run directory, its records, seeds, errors and signals."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from luthier.core.errors import DataError, ProblemList, ResourceError, UsageError
from luthier.core.files import write_json
from luthier.core.interrupt import stop_on_signals
from luthier.core.seeds import derive, fingerprint
from luthier.records.base import Estimate
from luthier.records.dry_run import MeasuredPlan
from luthier.records.run_directory import FORMAT, RunDirectory
from luthier.reports.runs import collect_runs


@pytest.mark.parametrize("name", ["a", "run-1", "Qwen2.5_x", "0"])
def test_a_run_is_created_once_and_reused(name: str, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "runs", name)
    assert run.name == name
    assert list(run.path.iterdir()) == []
    assert RunDirectory.create(tmp_path / "runs", name) == run


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "-x", ".hidden", "a\0b", "a b"]
)
def test_a_name_is_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a valid run name"):
        RunDirectory.create(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("made_as", [{}, {"format": 1}, {"format": 99}, {"format": "x" * 9000}])
def test_a_run_of_another_format_is_refused(made_as: dict[str, object], tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "a")
    run.config.write_text("seed: 1\n")
    write_json(run.rung("lora").config, {})
    write_json(run.manifest, {"kind": "tune", **made_as})
    for attempt in (
        lambda: RunDirectory.open(run.path),
        lambda: RunDirectory.open(run.path / "rungs" / "lora"),
        lambda: RunDirectory.create(tmp_path, "a"),
    ):
        with pytest.raises(DataError, match="this version of Luthier reads 2") as refused:
            attempt()
        assert len(refused.value.problem) < 300
    assert [one.status for one in collect_runs(tmp_path)] == ["broken"]
    write_json(run.manifest, {"kind": "tune", "format": FORMAT})
    assert RunDirectory.open(run.path) == run


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"format": 1}'])
def test_whoever_needs_a_manifest_says_what_is_wrong_with_it(content: str, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "a")
    run.config.write_text("seed: 1\n")
    run.manifest.write_text(content)
    assert RunDirectory.open(run.path) == run


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(ResourceError, match="where a folder is needed"):
        RunDirectory.create(tmp_path / "runs", "a")


def test_a_rehearsal_leaves_what_was_there(tmp_path: Path) -> None:
    """Neither the run nor the folders around it; where they were there, they stay."""
    run = RunDirectory.check_writable(tmp_path / "a" / "runs", "mine")
    assert run.path == tmp_path / "a" / "runs" / "mine"
    assert not list(tmp_path.iterdir())
    RunDirectory.create(tmp_path / "a" / "runs", "mine")
    assert RunDirectory.check_writable(tmp_path / "a" / "runs", "mine") == run
    assert (
        RunDirectory.check_writable(tmp_path / "a" / "runs", "other").path.parent == run.path.parent
    )
    assert [path.name for path in (tmp_path / "a" / "runs").iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["../x", "a\0b"])
def test_a_rehearsal_refuses_what_creating_refuses(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a valid run name"):
        RunDirectory.check_writable(tmp_path / "runs", name)
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(ResourceError, match="where a folder is needed"):
        RunDirectory.check_writable(tmp_path / "runs", "a")


def test_only_a_run_opens(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run directory"):
        RunDirectory.open(tmp_path)
    (tmp_path / "config.yaml").write_text("")
    assert RunDirectory.open(tmp_path).path == tmp_path


def test_rungs_are_runs_inside_a_run(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "a")
    assert run.rungs() == []
    for name in ("lora", "full"):
        run.rung(name)
    assert [rung.name for rung in run.rungs()] == ["full", "lora"]
    assert run.rung("lora").parent_run == run.parent_run == run
    assert run.rung("lora").evaluation("t") == tmp_path / "a/rungs/lora/evaluation/t.json"


def test_a_record_comes_back_or_says_why_not(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    record = MeasuredPlan(predicted_bytes={"weights": 3}, predicted_peak_bytes=4)
    record.write(path)
    assert MeasuredPlan.read(path) == record
    with pytest.raises(DataError, match="not a Estimate of this version") as caught:
        Estimate.read(path)
    assert caught.value.where == str(path)


def test_seeds_depend_on_every_name() -> None:
    seeds = {
        derive(0),
        derive(1),
        derive(0, "a"),
        derive(0, "a", 1),
        derive(0, "a", "b"),
        derive(0, "ab"),
        derive(0, "a1"),
    }
    assert len(seeds) == 7
    assert all(0 <= seed < 2**63 for seed in seeds)
    # Written down: a change here would make old runs unrepeatable.
    assert derive(0, "epoch", 0) == 7438450567208383373
    assert fingerprint("a", "b") != fingerprint("ab")
    assert len(fingerprint("a")) == 16


def test_one_problem_is_raised_as_it_is() -> None:
    problems = ProblemList()
    problems.raise_if_any()
    only = DataError("wrong", where="a:1")
    problems.add(only)
    with pytest.raises(DataError) as caught:
        problems.raise_if_any()
    assert caught.value is only


def test_many_problems_are_listed_up_to_a_limit() -> None:
    problems = ProblemList(limit=2)
    for line in range(1, 6):
        problems.add(DataError(f"wrong {line}", where=f"a:{line}", fix=f"mend {line}"))
    with pytest.raises(DataError) as caught:
        problems.raise_if_any()
    assert caught.value.problem.splitlines() == [
        "5 problems:",
        "  a:1: wrong 1 (mend 1)",
        "  a:2: wrong 2 (mend 2)",
        "  … and 3 more",
    ]


def test_a_signal_asks_and_a_second_one_interrupts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as request:
        assert not request.is_set
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.is_set
        assert request.signal_name == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_no_signal_is_caught() -> None:
    seen = []

    def work() -> None:
        with stop_on_signals() as request:
            seen.append(request.is_set)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
