"""The run directory: where the stages of one run leave what they made."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from luthier.core.disk import storing
from luthier.core.errors import DataError, UsageError
from luthier.core.files import partial_name, read_json
from luthier.core.folders import refuse_links
from luthier.core.names import shortened

FORMAT = 2
"""Of run directories; raised when files or settings in them get other names or meanings."""
_RUNGS = "rungs"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths inside ``runs/<name>/``; see docs/reference/run-directory.md."""

    path: Path

    @classmethod
    def create(cls, output: Path, name: str) -> RunDirectory:
        """Make the folder ``output/name``, or reuse it.

        Raises:
            UsageError: the name is not a plain file name.
            ResourceError: the folder cannot be written.
            DataError: something in it is a link; or an earlier version of Luthier made it.
        """
        path = _place(output, name)
        with storing(path):
            path.mkdir(parents=True, exist_ok=True)
            probe = partial_name(path / "probe")
            probe.touch(exist_ok=False)
            probe.unlink()
        refuse_links(path)
        return cls(path)._of_this_format()

    @classmethod
    def check_writable(cls, output: Path, name: str) -> RunDirectory:
        """The folder ``output/name``, if `create` would make it; what was not there is not there.

        Raises:
            UsageError, ResourceError: as `create`.
        """
        absent = _absent(_place(output, name))
        try:
            return cls.create(output, name)
        finally:
            for folder in absent:
                with suppress(OSError):  # it was not made, or holds something by now
                    folder.rmdir()

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run, which others may have written.

        Raises:
            DataError: there is none at ``path``; or something in it is a link; or an earlier
                version of Luthier made it.
        """
        if not (path / "config.yaml").is_file():
            raise DataError(
                "this is not a run directory: it has no config.yaml",
                where=str(path),
                fix="list the runs with 'luthier runs'",
            )
        refuse_links(path)
        return cls(path)._of_this_format()

    def _of_this_format(self) -> RunDirectory:
        made_as = _stored_format(self.parent_run.manifest)
        if made_as == FORMAT:
            return self
        raise DataError(
            f"this run has the format {shortened(str(made_as))}, and this version of Luthier reads "
            f"{FORMAT}",
            where=str(self.path),
            fix="make it again under another --name, or use the version of Luthier that made it",
        )

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.path.name

    @property
    def parent_run(self) -> RunDirectory:
        """The adapt run that this run is a rung of, or this run itself."""
        folder = self.path.absolute().parent
        return RunDirectory(folder.parent) if folder.name == _RUNGS else self

    @property
    def config(self) -> Path:
        """The resolved configuration; running it again repeats the run."""
        return self.path / "config.yaml"

    @property
    def lock(self) -> Path:
        """Held by the process that writes here; see `luthier.records.run_lock`."""
        return self.parent_run.path / ".lock"

    @property
    def manifest(self) -> Path:
        """Versions, hardware, seeds, and hashes of data, template and model."""
        return self.path / "manifest.json"

    @property
    def plan(self) -> Path:
        """Predicted memory, and the measured one beside it."""
        return self.path / "plan.json"

    @property
    def metrics(self) -> Path:
        """A line a training step."""
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """A line for each thing worth knowing: validations, saves, skips, stops."""
        return self.path / "events.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Event files for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """One folder a checkpoint, ``step-000100``."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """What was made, in the ecosystem's own format."""
        return self.path / "model"

    @property
    def merged(self) -> Path:
        """The model with its adapter merged into the weights."""
        return self.path / "merged"

    @property
    def training(self) -> Path:
        """The `TrainingRecord`; there when training is over."""
        return self.path / "training.json"

    @property
    def extensions(self) -> Path:
        """An `Extension` a line, where the training was extended."""
        return self.path / "extensions.jsonl"

    @property
    def ladder(self) -> Path:
        """The `LadderRecord` of an adapt run."""
        return self.path / "ladder.json"

    @property
    def contamination(self) -> Path:
        """The `Contamination` record: test examples that the training data contains."""
        return self.path / "contamination.json"

    @property
    def forgetting(self) -> Path:
        """The `Forgetting` record."""
        return self.path / "forgetting.json"

    @property
    def forgetting_items(self) -> Path:
        """An `ItemChange` a line: every general text and example, before and after."""
        return self.path / "forgetting.items.jsonl"

    @property
    def general_losses(self) -> Path:
        """Loss on each general text by content: what forgetting is computed from."""
        return self.path / "general.jsonl"

    @property
    def report_html(self) -> Path:
        """The self-contained report."""
        return self.path / "report.html"

    @property
    def report_markdown(self) -> Path:
        """The report as Markdown."""
        return self.path / "report.md"

    def evaluation(self, task: str) -> Path:
        """The `EvaluationRecord` of a task."""
        return self.path / "evaluation" / f"{file_name(task)}.json"

    def samples(self, task: str) -> Path:
        """The `SampleRecord` lines of a task."""
        return self.path / "evaluation" / f"{file_name(task)}.samples.jsonl"

    def suite(self, name: str) -> Path:
        """The `SuiteRecord` of a suite of tasks."""
        return self.path / "suites" / f"{file_name(name)}.json"

    def suites(self) -> list[Path]:
        """The files of all suites that were scored, by name."""
        return sorted((self.path / "suites").glob("*.json"))

    def answers(self, task: str) -> Path:
        """Each answer of a task as it was made, by content: see `ResultCache`."""
        return self.path / "evaluation" / f"{file_name(task)}.answers.jsonl"

    def judgement(self, task: str, baseline: str) -> Path:
        """The `Judgement` of a task's answers over those of another run."""
        return self.path / "judgements" / f"{file_name(task)}-over-{baseline}.json"

    def judgements(self) -> list[Path]:
        """The files of all judgements, by name."""
        return sorted((self.path / "judgements").glob("*.json"))

    def judged_pairs(self, task: str, baseline: str) -> Path:
        """Its pairs, a `SampleRecord` a line."""
        return self.judgement(task, baseline).with_suffix(".pairs.jsonl")

    @property
    def verdicts(self) -> Path:
        """What judges said, by content: see `ResultCache`."""
        return self.path / "judgements" / "answers.jsonl"

    def rung(self, name: str) -> RunDirectory:
        """The run directory of a rung of this adapt run (created when it is missing)."""
        return RunDirectory.create(self.path / _RUNGS, name)

    def rung_record(self, name: str) -> Path:
        """``rung.json`` of a rung; it is there where the rung was finished."""
        return self.path / _RUNGS / name / "rung.json"

    def forget_rung(self, name: str) -> None:
        """Remove a rung's record, where it was finished under other settings."""
        self.rung_record(name).unlink(missing_ok=True)

    @property
    def ladder_run(self) -> RunDirectory | None:
        """The adapt run that this is a rung of."""
        folder = self.path.resolve().parent
        above = RunDirectory(folder.parent)
        return above if folder.name == _RUNGS and above.ladder.is_file() else None

    @property
    def is_adapt(self) -> bool:
        """Whether this is an adapt run, which holds a run directory for every rung."""
        if self.ladder.is_file() or (self.path / _RUNGS).is_dir():
            return True
        try:  # before its first rung only the manifest tells
            manifest = read_json(self.manifest) if self.manifest.is_file() else None
        except DataError:
            return False
        return isinstance(manifest, dict) and manifest.get("kind") == "adapt"

    def rungs(self) -> list[RunDirectory]:
        """The rungs of this adapt run that have left something."""
        folder = self.path / _RUNGS
        return [RunDirectory(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []


def _place(output: Path, name: str) -> Path:
    """The folder of a run.

    Raises:
        UsageError: the name is not a plain file name.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a run",
            fix="use letters, digits, dots, dashes and underscores",
        )
    return output / name


def _absent(path: Path) -> list[Path]:
    """Of a folder and those around it the ones that do not exist, the innermost first."""
    try:
        return [folder for folder in (path, *path.parents) if not folder.exists()]
    except OSError:  # what cannot be looked for cannot be made either
        return []


def _stored_format(manifest: Path) -> object:
    """The format of the run that a manifest belongs to; today's where that cannot be told."""
    if not manifest.is_file():
        return FORMAT
    try:
        stored = read_json(manifest)
    except DataError:  # whoever needs the manifest says what is wrong with it
        return FORMAT
    is_manifest = isinstance(stored, dict) and "kind" in stored
    return stored.get("format", 1) if is_manifest else FORMAT


def file_name(task: str) -> str:
    """A task of a suite, such as ``glue/rte``, as the name of a file."""
    return task.replace("/", "-")


def is_missing_run(path: Path, output: Path) -> bool:
    """Whether ``path`` would be a run. The name of one looks like that of a model on the Hub."""
    return output in path.parents and not path.exists()
