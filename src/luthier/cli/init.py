"""``luthier init``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import RenderableType
from rich.padding import Padding

from luthier.api.tables import columns_table, short_value
from luthier.cli.flags import Json
from luthier.cli.output import ask, is_interactive, print_json, print_result
from luthier.core.console import Console
from luthier.core.errors import UsageError
from luthier.core.tables import Table
from luthier.core.terminal import Text
from luthier.core.units import counted
from luthier.core.user_files import is_there

if TYPE_CHECKING:
    from luthier.data.draft_task import TaskDraft
    from luthier.records.data_profile import DataProfile, NearRows

_BAR_WIDTH = 30
_MOST_CLASSES = 20
_MOST_PROMPT_CHARACTERS = 1200
_MANY_DUPLICATES = 0.2
"""More of the rows suggest that the question lacks a column."""
_YES = ("y", "yes")


def init(
    file: str,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("task.yaml"),
    label: str | None = None,
    text: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (),
    group: str | None = None,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", show_default=False)] = False,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json: Json = False,
) -> None:
    """Look at a file of your own and write a commented task.yaml for 'luthier adapt'.

    It finds the delimiter and the encoding, the column of the right answer, the texts of the
    question, and the column whose rows belong together. On a terminal it asks where it is unsure.

    Args:
        file: A data file (CSV, JSONL, Excel and others), or a folder with a folder per label.
        output: The task file to write.
        label: The column of the right answer.
        text: The columns of the question.
        group: The column whose rows belong together, such as a customer; '' for none.
        yes: Ask nothing; take the guesses.
        force: Replace an existing task file.
    """
    import luthier

    asks = is_interactive() and not (yes or json)
    if is_there(output) and not force:
        force = asks and _agreed(f"{output} exists. Replace it?", default=False)
        if not force:
            raise UsageError(
                "the file exists already",
                where=str(output),
                fix="give another name with -o, or replace it with --force",
            )
    corrected = False
    if asks:
        profile = luthier.init(file, label=label, texts=text, group=group).profile
        label = label or _chosen_label(profile)
        corrected = bool(profile.typos) and _agreed(_typo_question(profile), default=True)
    draft = luthier.init(
        file,
        output,
        label=label,
        texts=text,
        group=group,
        corrected=corrected,
        overwrite=force,
    )
    near = draft.near_duplicates(Console())
    if json:
        profile_fields = draft.profile.model_dump(mode="json")
        print_json({"file": str(output), **profile_fields, "near_duplicates": near.model_dump()})
    else:
        print_result(*_shown(file, draft, near, output))


def _chosen_label(profile: DataProfile) -> str | None:
    """The label that the user chooses among the candidates; None: the guess."""
    others = profile.other_labels
    if not (profile.right and others):
        return None
    candidates = (profile.right, *others)
    while True:
        names = ", ".join(candidates)
        answer = ask(f"Which column is the right answer: {names}? [{profile.right}]")
        if not answer or answer in candidates:
            return answer or None


def _typo_question(profile: DataProfile) -> str:
    pairs = ", ".join(f"{wrong} → {right}" for wrong, right in profile.typos.items())
    return f"Correct what may be misspelt in {profile.label} ({pairs})?"


def _agreed(question: str, *, default: bool) -> bool:
    answer = ask(f"{question} [{'Y/n' if default else 'y/N'}]").lower()
    return answer in _YES if answer else default


def _shown(file: str, draft: TaskDraft, near: NearRows, output: Path) -> Iterator[RenderableType]:
    """The profile, a rendered example, doubts, and the next commands."""
    profile = draft.profile
    rows, columns = counted(profile.rows, "row"), counted(len(profile.columns), "column")
    yield Text.assemble((Path(file).name, "bold cyan"), f"  {rows}, {columns}")
    yield from (Text(f"note: {note}", style="yellow") for note in profile.notes)
    yield ""
    yield columns_table(profile)
    if profile.classes:
        yield Text(f"\n{profile.label}: {len(profile.classes)} classes", style="bold")
        yield _classes(profile)
    yield from _repeats(profile)
    yield from _near_duplicates(profile, near)
    yield Text("\nThe first row, as the task asks it", style="bold")
    example = draft.example()
    yield _indented(_shortened(example.prompt))
    yield _indented(f"→ {_shortened(example.solution)}")
    if profile.unsure:
        yield Text("\nUnsure", style="bold")
        yield from (_indented(f"– {doubt}") for doubt in profile.unsure)
    name = shlex.quote(str(output))
    yield Text.assemble(f"\nWritten to {output}. ", "Look at the data, then adapt a model:")
    yield _indented(f"luthier data show {name}\nluthier adapt {name}")


def _classes(profile: DataProfile) -> Table:
    table = Table(headed=False)
    table.text()
    table.figures("")
    table.text()
    most = profile.classes[0].rows
    for each in profile.classes[:_MOST_CLASSES]:
        bar = "█" * -(-each.rows * _BAR_WIDTH // most)
        table.add_row(short_value(each.label), f"{each.rows:,}", Text(bar, style="cyan"))
    if (left := len(profile.classes) - _MOST_CLASSES) > 0:
        table.add_row(f"… {left} more", "", "")
    return table


def _repeats(profile: DataProfile) -> Iterator[Text]:
    """Sentences on rows that repeat or contradict others."""
    if profile.duplicates:
        verb = "repeats" if profile.duplicates == 1 else "repeat"
        many = profile.duplicates > _MANY_DUPLICATES * profile.rows
        yield Text(
            f"\n{counted(profile.duplicates, 'row')} {verb} the question and answer of others"
            + ("; the question may lack a column: name all with --text." if many else "."),
            style="yellow" if many else "",
        )
    if profile.contradictions:
        have = "has" if profile.contradictions == 1 else "have"
        yield Text(f"\n{counted(profile.contradictions, 'question')} {have} several labels.")


def _near_duplicates(profile: DataProfile, near: NearRows) -> Iterator[Text]:
    """A sentence on rows that are near-duplicates of others."""
    if not near.rows:
        return
    yield Text(
        f"\n{_counted_among(profile, near)} of others, such as {' and '.join(near.pair)}; "
        f"{_kept_together(profile, near)}."
    )


def _counted_among(profile: DataProfile, near: NearRows) -> str:
    """The number of near-duplicates, in a clause without its end."""
    if near.rows == profile.rows:
        return "All rows are near-duplicates"
    are = "is a near-duplicate" if near.rows == 1 else "are near-duplicates"
    if near.among < profile.rows:
        return f"{near.rows:,} of a sample of {near.among:,} rows {are}"
    return f"{near.rows:,} of {near.among:,} rows {are}"


def _kept_together(profile: DataProfile, near: NearRows) -> str:
    """Whether near-duplicates stay in one split, in a clause."""
    if near.is_whole:
        return "they stay in one split"
    if near.is_chained_by_groups:
        return (
            f"through {profile.group} they would chain most rows, so not all of them can stay in "
            "one split; --group '' keeps them together instead"
        )
    return "they would chain most rows, so not all of them can stay in one split"


def _indented(text: str) -> Padding:
    return Padding(Text(text), (0, 0, 0, 2), expand=False)


def _shortened(text: str) -> str:
    if len(text) <= _MOST_PROMPT_CHARACTERS:
        return text
    half = _MOST_PROMPT_CHARACTERS // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters …\n{text[-half:]}"
