"""``luthier predict``."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from luthier.cli.flags import Json, one_of
from luthier.cli.options import read_settings
from luthier.cli.output import OutputStream, print_json, print_result
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.core.units import counted

if TYPE_CHECKING:
    from luthier.records.prediction import Prediction

_PIPE = "-"
_Format = Literal["csv", "tsv", "jsonl"]
_Switch = Parameter(negative="", show_default=False)


def predict(
    run: str,
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *settings: str,
    out: Annotated[str, Parameter(name=["-o", "--out"], allow_leading_hyphen=True)] = _PIPE,
    rung: str | None = None,
    format: Annotated[  # noqa: A002 - the name of the option
        _Format | None,
        one_of(_Format, ": the format of standard input and output"),
    ] = None,
    abstain: float | None = None,
    prefix: str = "",
    strict: Annotated[bool, _Switch] = False,
    force: Annotated[bool, _Switch] = False,
    json: Json = False,
) -> int:
    """Answer new rows with a run, through its own task, prompts and few-shot examples.

    All columns of the rows are kept; "prediction" is added, and "probability" with one column for
    each choice, or "finish" for open answers. Rows that cannot be answered are kept apart in
    OUT.rejected.jsonl with the reason; the exit code is then 3. If interrupted, run the same
    command again to continue.

    Args:
        run: A run directory; an adapt run stands for its recommended rung.
        file: The file of rows, which need no answers, or a folder of .txt files; "-" is standard
            input.
        settings: Settings that a stored run may not decide, such as model.id=…
        out: The file to write (.csv, .tsv, .jsonl or .parquet); "-" is standard output.
        rung: Another rung of an adapt run.
        abstain: Leave out answers whose probability is below this value.
        prefix: Text before the names of the added columns.
        strict: Stop at the first row that cannot be answered.
        force: Overwrite files that the same command did not write.
    """
    if json and out == _PIPE:
        raise UsageError(
            "--json prints one document, so the rows need a file", fix="name it with -o"
        )
    from luthier.context.run_predictor import open_predictor
    from luthier.data.writers import WRITERS
    from luthier.workflows.prediction_files import Options, predict_to_file, predict_to_stream
    from luthier.workflows.rows_to_answer import file_source, stream_source

    console = Console()
    options = Options(abstain, strict, prefix, force)
    with ExitStack() as stack:
        if file == _PIPE:
            source = stack.enter_context(stream_source(_input(), f".{_required(format)}"))
        else:
            source = file_source(file)
        predictor = open_predictor(run, console, read_settings(settings), rung)
        if out == _PIPE:
            writer = WRITERS[f".{format or _like(file)}"]
            stream: Any = OutputStream()
            made = predict_to_stream(predictor, source, stream, writer, options, console)
        else:
            made = predict_to_file(predictor, source, Path(out), options, console)
    if json:
        print_json(made.model_dump(mode="json"))
    elif out != _PIPE:
        print_result(*_told(made))
    return DataError.exit_code if made.rejected else 0


def _told(made: Prediction) -> list[str]:
    lines = [f"Answered: {counted(made.rows, 'row')}, in {made.file}"]
    if made.abstained:
        lines.append(f"Abstained: {made.abstained:,} of them")
    if made.rejected:
        lines.append(f"Not answered: {counted(made.rejected, 'row')}, in {made.rejected_file}")
    return lines


def _input() -> Any:
    """Standard input as bytes."""
    return getattr(sys.stdin, "buffer", sys.stdin)


def _required(given: _Format | None) -> _Format:
    """The format of standard input.

    Raises:
        UsageError: none is given.
    """
    if given is None:
        raise UsageError(
            "the format of standard input is not known",
            fix="give --format csv, --format tsv or --format jsonl",
        )
    return given


def _like(file: str) -> str:
    """The format of standard output for a file of rows: its own, or JSON lines."""
    suffix = Path(file).suffix.lower().removeprefix(".")
    return suffix if suffix in ("csv", "tsv") else "jsonl"
