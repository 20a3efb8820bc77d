"""Loading the examples of the three splits from a configuration."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from luthier.config.data import DataConfig
from luthier.config.prompt import PromptConfig
from luthier.core.console import Console, ProgressCallback
from luthier.core.errors import DataError, UsageError
from luthier.core.example import Example
from luthier.core.names import did_you_mean, listed, named
from luthier.core.row import Row
from luthier.core.seeds import fingerprint
from luthier.data.bundled import BUNDLED
from luthier.data.class_weights import constant_choices, weigh_classes
from luthier.data.conversations import Rules
from luthier.data.divide import divide, fractions_of
from luthier.data.draft_task import draft_task
from luthier.data.fields import Notes
from luthier.data.problems import Dropped, Problems, collect_problems, count_reasons
from luthier.data.profile import profile_rows
from luthier.data.row_shapes import FORMATS, Format, Table, detect, is_index
from luthier.data.sources import Source, open_source
from luthier.data.splits import (
    NO_NEAR,
    SPLITS,
    NearCount,
    SplitName,
    Splits,
    draw,
    lost_warnings,
    with_unique_ids,
)
from luthier.data.task_rows import task_called, task_labels, task_parts
from luthier.records.run_directory import file_name
from luthier.tasks.bare import AS_IS
from luthier.tasks.load import library_templates, load_template, task_names
from luthier.tasks.mixture import Mixture
from luthier.tasks.sources import WHOLE
from luthier.tasks.task import Task

_TEMPLATE_USES = "a template can use them"


@dataclass(frozen=True, slots=True)
class Dataset:
    """The examples of a task.

    Attributes:
        task: its name, usable in file names.
        template: the task that renders the rows; `AS_IS` if they are prompts already.
        train: for training and shots.
        validation: for selecting the best state.
        test: for measuring results.
        dropped: left-out rows with reasons.
        fingerprint: of the content of all three splits.
        format: the format of the rows.
        near: the near-duplicates among all rows.
        mixture: the mixture of several sources; None: one source.
    """

    task: str
    template: Task
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    dropped: tuple[Dropped, ...]
    fingerprint: str
    format: str = "table"
    near: NearCount = NO_NEAR
    mixture: Mixture | None = None

    def split(self, name: SplitName) -> tuple[Example, ...]:
        """The examples of a split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


def load_dataset(data: DataConfig, prompt: PromptConfig, seed: int, console: Console) -> Dataset:
    """The examples of a configuration: read, converted, split and sampled.

    Everything is read and checked, and all errors are reported together.

    Raises:
        DataError: the data is missing, a row is unusable, or a split is empty.
        UsageError: the configuration contradicts itself.
    """
    fractions_of(data, 0)  # refuses impossible ones before anything is read
    problems = collect_problems(data.invalid)
    task = None if data.source in BUNDLED else task_called(data.source)
    source = _open(data, task, problems, console)
    if source.ignored:
        names = listed(source.ignored)
        console.warn(f"these files name no split and are ignored: {names}")
    reading = _Reading(data, _table(data, prompt, task), problems, console)
    try:
        parts = _read_parts(source, reading, console)
        refused = problems.finish()
    finally:
        for note in problems.notes:
            console.warn(note)
    for warning in reading.warnings():
        console.warn(warning)
    if WHOLE not in parts and "train" not in parts:
        raise DataError(
            "there is no data to train on",
            where=data.source,
            fix=f"found only {' and '.join(parts) or 'no splits'}; add training data",
        )
    train = parts[WHOLE] if WHOLE in parts else parts["train"]
    held_out = {name: parts[name] for name in SPLITS[1:] if name in parts}
    splits = divide(train, held_out, data, seed, console)
    unusable = refused + tuple(reading.left_out)
    for reason in count_reasons(unusable + splits.dropped):
        console.warn(f"{reason.count} left out: {reason.reason} (such as {reason.where})")
    for warning in lost_warnings(len(refused), splits.dropped, sum(map(len, parts.values()))):
        console.warn(warning)
    if not train and not unusable:
        raise _without_rows(data.source)
    _require_examples(splits, len(train), held_out, data.source)
    return _drawn(source.name, reading, splits, unusable)


def _read_parts(source: Source, reading: _Reading, console: Console) -> dict[str, list[Example]]:
    """The examples of each part of a source; the training data decides the format."""
    parts: dict[str, list[Example]] = {}
    with console.progress(f"reading {source.name}", None) as advance:
        for name in (WHOLE, *SPLITS):
            if name in source.parts:
                rows = _counted(source.parts[name](), advance)
                trained = name in (WHOLE, "train")
                parts[name] = with_unique_ids(reading.examples(rows, is_trained=trained))
    return parts


def _drafted_table(data: DataConfig, console: Console) -> Table | None:
    """The rows of a source, asked as a drafted task asks them; None: no task fits them."""
    source = open_source(data.source, collect_problems("drop"), subset=data.subset)
    apart = {data.weight, *data.ignore_keys}
    rows = [
        Row({name: value for name, value in row.values.items() if name not in apart}, row.where)
        for row in source.read_all()
    ]
    group = data.group if rows and data.group in rows[0].values else None
    try:
        draft = draft_task(source.name, rows, profile_rows(rows, group=group))
    except DataError:
        return None
    found = draft.profile
    grouped = f", grouped by {found.group}" if found.group else ""
    asked = listed(found.texts, last=" and ")
    console.say(f"no task is given, so one is drafted: {asked} → {found.right}{grouped}")
    console.say(f"to see, change and keep it: luthier init {shlex.quote(data.source)}")
    for doubt in found.unsure:
        console.warn(doubt)
    return Table(draft.task)


class _Reading:
    """Converts rows into examples; the first row decides the format."""

    def __init__(
        self, data: DataConfig, table: Table | None, problems: Problems, console: Console
    ) -> None:
        self.data = data
        self.table = table
        self._console = console
        self.format = table or _known_format(data)
        self._group = _group_column(data)
        self._problems = problems
        self._rules = Rules.of(data)
        self._notes = Notes()
        self.left_out: list[Dropped] = []

    def examples(self, rows: Iterable[Row], *, is_trained: bool) -> Iterator[Example]:
        """The examples of the usable rows.

        Args:
            rows: the rows.
            is_trained: whether they are trained on, so that each needs a weight if a weight column
                is named.
        """
        rules = self._rules if is_trained else self._rules.without_weight()
        for row in rows:
            if self.format is None:
                self.format = self._found_format(row)
            try:
                example = self.format.convert(row, self._group_of(row), rules, self._notes)
            except DataError as error:
                self._problems.add(error)
                continue
            if reason := self._reason_against(example):
                self.left_out.append(Dropped(example.where, reason))
            else:
                yield example

    def _found_format(self, row: Row) -> Format | Table:
        """The format of rows without a template, known or drafted.

        Raises:
            DataError: the rows need a template, or fit several formats.
        """
        if known := _detected_format(self.data, row):
            return known
        self.table = _drafted_table(self.data, self._console)
        if self.table is None:
            raise _needs_template(row)
        return self.table

    def _reason_against(self, example: Example) -> str:
        """The reason for leaving out an example; otherwise empty."""
        limit = self.data.max_characters
        if not example.weight:
            return "its flags or weight exclude it from training"
        if limit is not None and example.characters > limit:
            return f"longer than {limit:,} characters (data.max_characters)"
        return ""

    def warnings(self) -> Iterator[str]:
        """Warnings about ignored content of rows."""
        if self.data.source in BUNDLED:
            return
        unused = {name: v for name, v in self._notes.unused.items() if name != self._group}
        index = [name for name, value in unused.items() if is_index(name, value)]
        if index:
            yield (
                f"ignored, because it looks like pandas' row numbers: {listed(index, show=named)}; "
                "to_csv(…, index=False) writes none"
            )
        if names := listed((name for name in unused if name not in index), show=named):
            way = "data.weight names a column of weights" if self.table else _TEMPLATE_USES
            yield f"these columns are not used: {names}; {way}"
        for note in self._notes.counts():
            yield f"{note.reason} ({note.count:,} times, such as {note.where})"

    def _group_of(self, row: Row) -> str:
        if self._group is None:
            return ""
        value = row.values.get(self._group)
        if value is None:
            raise DataError(
                f"the row has no column {self._group!r}, which data.group names",
                where=row.where,
                fix=f"its columns are {listed(row.values)}",
            )
        return str(value)


def _open(data: DataConfig, task: Task | None, problems: Problems, console: Console) -> Source:
    """The source, with separate validation and test files in place of its own splits."""
    if data.source in BUNDLED:
        bundled = BUNDLED[data.source]
        source = Source(data.source, {WHOLE: lambda: bundled.rows(console)})
    elif task:
        source = Source(file_name(task.name), task_parts(task, problems))
    else:
        source = _open_other(data, problems)
    parts = dict(source.parts)
    files: tuple[tuple[SplitName, str | None], ...] = (
        ("validation", data.validation),
        ("test", data.test),
    )
    for name, file in files:
        if file is not None:
            parts[name] = open_source(file, problems).read_all
    return Source(source.name, parts, source.ignored)


def _open_other(data: DataConfig, problems: Problems) -> Source:
    """A file, a folder or a Hub data set; a missing one may be a misspelt task."""
    try:
        return open_source(data.source, problems, subset=data.subset)
    except DataError as error:
        if hint := did_you_mean(data.source, task_names(), cutoff=0.8):
            raise DataError(error.problem, where=error.where, fix=f"{hint} {error.fix}") from None
        raise


def _table(data: DataConfig, prompt: PromptConfig, task: Task | None) -> Table | None:
    """The rows of the task that is asked for, or of the data's own; None: they are no table."""
    own = BUNDLED[data.source].template if data.source in BUNDLED else None
    name = prompt.template or own
    labels = task_labels(task) if task else {}
    if name is None:
        return Table(task, labels) if task else None
    if data.format not in ("auto", "table"):
        raise UsageError(
            f"a template needs data.format=table, but data.format is {data.format}",
            where="prompt.template, data.format",
            fix="unset one of them",
        )
    return Table(load_template(name), labels)


def _group_column(data: DataConfig) -> str | None:
    if data.group is None and data.source in BUNDLED:
        return BUNDLED[data.source].group
    return data.group


def _known_format(data: DataConfig) -> Format | Table | None:
    """The format of rows without a template, if it does not depend on their columns."""
    if data.source in BUNDLED:
        return FORMATS["text"]
    return FORMATS.get(data.format)


def _detected_format(data: DataConfig, row: Row) -> Format | None:
    """The format of rows without a template, detected from ``row``; None: it is unknown.

    Raises:
        DataError: several formats fit.
    """
    apart = {data.group, data.weight, *data.ignore_keys}
    columns = [name for name in row.values if name not in apart]
    if data.format == "table" or not any(known.fits(columns) for known in FORMATS.values()):
        return None
    return detect(columns, row.where)


def _needs_template(row: Row) -> DataError:
    columns = set(row.values)
    fitting = [template.name for template in library_templates() if template.columns <= columns]
    shapes = "; ".join(f"{known.name} ({known.shape})" for known in FORMATS.values())
    return DataError(
        f"the columns {listed(row.values, show=named)} match no known format, and no task can be "
        "drafted from them",
        where=row.where,
        fix=f"set prompt.template to one of {', '.join(fitting)}"
        if fitting
        else "draft one with 'luthier init FILE --label COLUMN', or rename the columns to those of "
        f"a format: {shapes}",
    )


def _without_rows(source: str) -> DataError:
    return DataError(
        "the train split is empty: there are no rows",
        where=source,
        fix="add rows; the file is empty or has only a header",
    )


def _require_examples(
    splits: Splits, found: int, held_out: Collection[SplitName], source: str
) -> None:
    """Check that there are examples to train on and to evaluate with."""
    for name, examples in (("train", splits.train), ("test", splits.test)):
        if examples:
            continue
        if not found or name in held_out:
            why, fix = "no row is usable", "add rows, or fix those that were left out"
        else:
            why = (
                f"of {found} examples, {len(splits.dropped)} are duplicates or leaks, and the "
                "others fell into other splits"
            )
            fix = (
                "add rows or groups, another seed, other values of data.test_fraction and "
                "data.validation_fraction, or a file for the test with data.test"
            )
            if splits.near.examples:
                why += f"; {splits.near.examples:,} of them are near-duplicates, kept together"
                fix += "; data.near_duplicates=off divides near-duplicates too"
        raise DataError(f"the {name} split is empty: {why}", where=source, fix=fix)


def _drawn(task: str, reading: _Reading, splits: Splits, unusable: tuple[Dropped, ...]) -> Dataset:
    data, template = reading.data, reading.table.task if reading.table else AS_IS
    train = draw(splits.train, data.num_train)
    validation = draw(splits.validation, data.num_validation)
    test = draw(splits.test, data.num_test)
    ids = ("\x1e".join(example.id for example in part) for part in (train, validation, test))
    content = fingerprint(*ids)
    weights = [example.weight for example in train]
    if data.class_weights is not None:
        train = weigh_classes(train, data.class_weights, constant_choices(template))
        weights = [example.weight for example in train]
    if any(weight != 1.0 for weight in weights):
        content = fingerprint(content, *map(repr, weights))
    return Dataset(
        task=task,
        template=template,
        train=train,
        validation=validation,
        test=test,
        dropped=unusable + splits.dropped,
        fingerprint=content,
        format=reading.format.name if reading.format else "",
        near=splits.near,
    )


def _counted(rows: Iterable[Row], advance: ProgressCallback) -> Iterator[Row]:
    for row in rows:
        advance()
        yield row
