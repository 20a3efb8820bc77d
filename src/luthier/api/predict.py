"""Answer new rows with a run: `luthier predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from luthier.api.configuration import Overrides
from luthier.core.console import Console

if TYPE_CHECKING:
    from luthier.records.prediction import Prediction


def predict(
    run: str | Path,
    rows: str | Path,
    out: str | Path,
    console: Console | None = None,
    *,
    rung: str | None = None,
    overrides: Overrides = None,
    abstain: float | None = None,
    strict: bool = False,
    prefix: str = "",
    force: bool = False,
) -> Prediction:
    """Answer all rows of a file as a run does, and write them with their answers to another.

    The columns of the rows come first, unchanged; then ``prediction``, and ``probability`` with one
    column for each choice, or ``finish`` for open answers. Rows that cannot be answered are written
    to ``<out>.rejected.jsonl`` with the reason. An interrupted call continues when it is repeated.

    Args:
        run: the run directory; an adapt run stands for its recommended rung.
        rows: a file of rows, which need not have an answer, or a folder of ``.txt`` files.
        out: the file to write: ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``.
        console: shows progress; None: a console on standard error.
        rung: another rung of the adapt run.
        overrides: settings that a stored run may not decide, such as ``{"model.id": …}``.
        abstain: the probability below which an answer is left out.
        strict: whether the first row that cannot be answered is an error.
        prefix: the text before the names of the added columns.
        force: whether existing files are overwritten, whoever made them.

    Returns:
        The numbers of answered and other rows, and the files.

    Raises:
        LuthierError: see `luthier.core.errors`.

    Example:
        >>> import luthier
        >>> from pathlib import Path
        >>> _ = Path("new.jsonl").write_text('{"prompt": "Is the number 7 even or odd?"}')
        >>> luthier.predict("runs/tuned", "new.jsonl", "answers.csv").rows
        1
    """
    from luthier.context.run_predictor import open_predictor
    from luthier.workflows.prediction_files import Options, predict_to_file
    from luthier.workflows.rows_to_answer import file_source

    console = console or Console()
    source = file_source(rows)
    options = Options(abstain, strict, prefix, force)
    predictor = open_predictor(run, console, overrides, rung)
    return predict_to_file(predictor, source, Path(out), options, console)
