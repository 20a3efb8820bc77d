"""The run directory, where the stages of a run store their results."""

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
"""Format version of run directories; raised when files or settings change name or meaning."""
BASELINE_FILE = "baseline.json"
"""The file of a rung that is a baseline; its arrays lie beside it."""
_RUNGS = "rungs"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths inside ``runs/<name>/``; see docs/reference/run-directory.md."""

    path: Path

    @classmethod
    def create(cls, output: Path, name: str) -> RunDirectory:
        """Create or reuse the folder ``output/name``.

        Raises:
            UsageError: the name is not a plain file name.
            ResourceError: the folder is not writable.
            DataError: the folder contains a link, or an earlier version of Luthier made it.
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
        """The folder ``output/name`` if `create` would succeed; nothing new is left on disk.

        Raises:
            UsageError, ResourceError: as in `create`.
        """
        absent = _absent(_place(output, name))
        try:
            return cls.create(output, name)
        finally:
            for folder in absent:
                with suppress(OSError):  # never created, or no longer empty
                    folder.rmdir()

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run, possibly written by somebody else.

        Raises:
            DataError: ``path`` is not a run, contains a link, or was made by an earlier version of
                Luthier.
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
            f"this run has the format {shortened(str(made_as))}, but this version of Luthier reads "
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
        """The adapt run that this rung belongs to, or this run itself."""
        folder = self.path.absolute().parent
        return RunDirectory(folder.parent) if folder.name == _RUNGS else self

    @property
    def config(self) -> Path:
        """The resolved configuration; running it again repeats the run."""
        return self.path / "config.yaml"

    @property
    def lock(self) -> Path:
        """The lock file of the writing process; see `luthier.records.run_lock`."""
        return self.parent_run.path / ".lock"

    @property
    def manifest(self) -> Path:
        """Versions, hardware, seeds, and hashes of data, template and model."""
        return self.path / "manifest.json"

    @property
    def baseline(self) -> Path:
        """The baseline of a rung without a model; see `luthier.evaluation.baselines`."""
        return self.path / BASELINE_FILE

    @property
    def task(self) -> Path:
        """The task that renders the rows, as a task file."""
        return self.path / "task.yaml"

    @property
    def prompting(self) -> Path:
        """The `PromptingRecord`: few-shot examples and the form of the prompts."""
        return self.path / "prompting.json"

    @property
    def plan(self) -> Path:
        """The `MeasuredPlan`: predicted and measured memory."""
        return self.path / "plan.json"

    @property
    def metrics(self) -> Path:
        """Training metrics, one line per step."""
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """Events, one per line: validations, saves, skips, stops."""
        return self.path / "events.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Event files for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints, one folder each: ``step-000100``."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The tuned model or adapter, in the format of transformers or peft."""
        return self.path / "model"

    @property
    def merged(self) -> Path:
        """The model with its adapter merged into the weights."""
        return self.path / "merged"

    @property
    def published(self) -> Path:
        """The folder that was written for the Hub."""
        return self.path / "hub"

    @property
    def training(self) -> Path:
        """The `TrainingRecord`, written when training is finished."""
        return self.path / "training.json"

    @property
    def extensions(self) -> Path:
        """`Extension` records, one per line, if the training was extended."""
        return self.path / "extensions.jsonl"

    @property
    def ladder(self) -> Path:
        """The `LadderRecord` of an adapt run."""
        return self.path / "ladder.json"

    @property
    def contamination(self) -> Path:
        """The `Contamination` record: test examples that overlap with the training data."""
        return self.path / "contamination.json"

    @property
    def forgetting(self) -> Path:
        """The `Forgetting` record."""
        return self.path / "forgetting.json"

    @property
    def forgetting_items(self) -> Path:
        """`ItemChange` records, one per line: every general text and example, before and after."""
        return self.path / "forgetting.items.jsonl"

    @property
    def general_losses(self) -> Path:
        """Losses of general texts, keyed by content, from which forgetting is computed."""
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
        """The files of all scored suites, sorted by name."""
        return sorted((self.path / "suites").glob("*.json"))

    def answers(self, task: str) -> Path:
        """The generated answers of a task, keyed by content: see `ResultCache`."""
        return self.path / "evaluation" / f"{file_name(task)}.answers.jsonl"

    def judgement(self, task: str, baseline: str) -> Path:
        """The `Judgement` of a task's answers over those of another run."""
        return self.path / "judgements" / f"{file_name(task)}-over-{baseline}.json"

    def judgements(self) -> list[Path]:
        """The files of all judgements, sorted by name."""
        return sorted((self.path / "judgements").glob("*.json"))

    def judged_pairs(self, task: str, baseline: str) -> Path:
        """The judged pairs, one `SampleRecord` per line."""
        return self.judgement(task, baseline).with_suffix(".pairs.jsonl")

    @property
    def verdicts(self) -> Path:
        """The verdicts of judges, keyed by content: see `ResultCache`."""
        return self.path / "judgements" / "answers.jsonl"

    def rung(self, name: str) -> RunDirectory:
        """The run directory of a rung of this adapt run (created if missing)."""
        return RunDirectory.create(self.path / _RUNGS, name)

    def rung_record(self, name: str) -> Path:
        """``rung.json`` of a rung; it exists once the rung is finished."""
        return self.path / _RUNGS / name / "rung.json"

    def forget_rung(self, name: str) -> None:
        """Remove the record of a rung that was finished under other settings."""
        self.rung_record(name).unlink(missing_ok=True)

    @property
    def ladder_run(self) -> RunDirectory | None:
        """The adapt run that this run is a rung of."""
        folder = self.path.resolve().parent
        above = RunDirectory(folder.parent)
        return above if folder.name == _RUNGS and above.ladder.is_file() else None

    @property
    def is_adapt(self) -> bool:
        """Whether this is an adapt run, which contains a run directory for every rung."""
        if self.ladder.is_file() or (self.path / _RUNGS).is_dir():
            return True
        try:  # before its first rung, only the manifest identifies an adapt run
            manifest = read_json(self.manifest) if self.manifest.is_file() else None
        except DataError:
            return False
        return isinstance(manifest, dict) and manifest.get("kind") == "adapt"

    def rungs(self) -> list[RunDirectory]:
        """The rungs of this adapt run that have any results."""
        folder = self.path / _RUNGS
        return [RunDirectory(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []


def _place(output: Path, name: str) -> Path:
    """The folder of a run.

    Raises:
        UsageError: the name is not a plain file name.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid run name",
            fix="use letters, digits, dots, dashes and underscores",
        )
    return output / name


def _absent(path: Path) -> list[Path]:
    """The missing folders among ``path`` and its parents, innermost first."""
    try:
        return [folder for folder in (path, *path.parents) if not folder.exists()]
    except OSError:  # an unreadable path cannot be created either
        return []


def _stored_format(manifest: Path) -> object:
    """The run format stored in a manifest; the current one if it cannot be read."""
    if not manifest.is_file():
        return FORMAT
    try:
        stored = read_json(manifest)
    except DataError:  # the error is reported by the code that needs the manifest
        return FORMAT
    is_manifest = isinstance(stored, dict) and "kind" in stored
    return stored.get("format", 1) if is_manifest else FORMAT


def file_name(task: str) -> str:
    """A file name for a task, such as ``glue/rte``."""
    return task.replace("/", "-")


def is_missing_run(path: Path, output: Path) -> bool:
    """Whether ``path`` looks like a run that does not exist. Hub model ids look the same."""
    return output in path.parents and not path.exists()
