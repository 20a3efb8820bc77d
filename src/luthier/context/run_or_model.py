"""Resolution of a command's target to a run, a rung or a model.

Only this module decides whether a name means a run or a model. An adapt run stands for the rung
that it recommends. Any name that is no run names a model. `luthier.models.resolve` finds models by
a bundled name, a folder, a GGUF file or a Hub id; `luthier.inference.remote` queries those with a
URL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.names import did_you_mean, listed, on_one_line, shortened
from luthier.records.ladder import LadderRecord
from luthier.records.results import tuned_model
from luthier.records.run_directory import RunDirectory, is_missing_run


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a command: a run or a model.

    Attributes:
        model: the name of a model; empty if a run or nothing is named.
        run: the run directory, or that of an adapt run's recommended rung; None: no run is named.
        tuned: the folder of the run's tuned model; None: the run has no tuned model.
    """

    model: str = ""
    run: RunDirectory | None = None
    tuned: Path | None = None

    def require_present(self, output: Path) -> None:
        """Refuse a missing run, whose path could be taken for the id of a Hub model.

        Raises:
            DataError: the name is a path in ``output``, but there is no such run.
        """
        if self.model and is_missing_run(Path(self.model), output):
            raise DataError(
                "there is no such run", where=self.model, fix="list the runs with 'luthier runs'"
            )


def find_target(name: str | Path | None, console: Console) -> Target:
    """The target that a user has named, a run or a model.

    Args:
        name: a run directory, a rung, an adapt run, or a model; None: the configuration's model.
        console: shows which rung an adapt run stands for.

    Raises:
        DataError: the run is not finished, or it recommends no rung.
    """
    if name is None:
        return Target()
    is_run = (Path(name) / "config.yaml").is_file()
    return open_target(name, console) if is_run else Target(model=str(name))


def open_target(name: str | Path, console: Console) -> Target:
    """The target of a command that accepts only runs.

    Raises:
        DataError: ``name`` is no run, the run is not finished, or it recommends no rung.
    """
    run = recommended_rung(RunDirectory.open(Path(name)), console)
    return Target(run=run, tuned=tuned_model(run))


def open_runs(names: Sequence[str | Path], console: Console) -> list[RunDirectory]:
    """Open run directories; adapt runs are replaced by their recommended rungs.

    Raises:
        DataError: a name is no run, or an adapt run recommends no rung.
    """
    return [recommended_rung(RunDirectory.open(Path(name)), console) for name in names]


def recommended_rung(run: RunDirectory, console: Console) -> RunDirectory:
    """The rung that an adapt run recommends; any other run unchanged.

    Raises:
        DataError: the adapt run is not finished, or it recommends no rung.
    """
    if not run.is_adapt:
        return run
    rungs = {rung.name: rung for rung in run.rungs()}
    if not run.ladder.is_file():
        raise DataError(
            "this adapt run is not finished, so it recommends no rung yet",
            where=str(run.path),
            fix=f"go on with 'luthier resume {run.path}'{_or_name_one(rungs)}",
        )
    chosen = LadderRecord.read(run.ladder).recommendation.rung
    if chosen is None or chosen not in rungs:
        raise DataError(
            "this adapt run recommends no rung",
            where=str(run.path),
            fix=f"see 'luthier report {run.path}'{_or_name_one(rungs)}",
        )
    console.say(f"{run.path} stands for the rung that it recommends: {chosen}")
    return rungs[chosen]


def named_rung(run: RunDirectory, name: str) -> RunDirectory:
    """The rung of an adapt run that a user has named.

    Raises:
        UsageError: the run has no such rung.
    """
    rungs = {rung.name: rung for rung in run.rungs()} if run.is_adapt else {}
    if name not in rungs:
        raise UsageError(
            f"this run has no rung {shortened(name)!r}",
            where=str(run.path),
            fix=did_you_mean(name, rungs) or f"its rungs are {listed(rungs)}"
            if rungs
            else "only an adapt run has rungs; leave out --rung",
        )
    return rungs[name]


def _or_name_one(rungs: dict[str, RunDirectory]) -> str:
    """The end of a hint, with the rungs that the user can name instead."""
    paths = [str(rung.path) for rung in rungs.values()]
    return f", or name a rung: {listed(paths, 3, show=on_one_line)}" if paths else ""
