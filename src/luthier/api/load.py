"""Load a run to use it in Python."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.api.configuration import Overrides
from luthier.core.console import Console
from luthier.core.errors import ProblemList, UsageError

if TYPE_CHECKING:
    from luthier.context.run_predictor import RunPredictor
    from luthier.core.row import Row
    from luthier.records.prediction import Answer
    from luthier.workflows.predict import RowSource


def load(
    run: str | Path,
    rung: str | None = None,
    console: Console | None = None,
    *,
    overrides: Overrides = None,
) -> Model:
    """Load a run, ready to answer questions as its evaluation did.

    Args:
        run: the run directory; an adapt run stands for its recommended rung.
        rung: another rung of the adapt run.
        console: shows progress; None: nothing is shown.
        overrides: settings that a stored run may not decide, such as ``{"model.id": …}``.

    Raises:
        LuthierError: see `luthier.core.errors`.

    Example:
        >>> import luthier
        >>> model = luthier.load("runs/tuned")
        >>> answer = model("Is the number 7 even or odd?")
        >>> isinstance(answer.text, str)
        True
    """
    from luthier.context.run_predictor import open_predictor

    console = console or Console(quiet=True)
    return Model(open_predictor(run, console, overrides, rung), console)


class Model:
    """A loaded run: a call answers one question, `predict` answers many.

    Example:
        >>> import luthier
        >>> model = luthier.load("runs/tuned")
        >>> answers = model.predict([{"prompt": "Is the number 7 even or odd?"}])
        >>> len(answers)
        1

    Args:
        predictor: the run.
        console: shows progress.
    """

    def __init__(self, predictor: RunPredictor, console: Console) -> None:
        self._run, self._console = predictor, console
        self._source = predictor.load()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a question needs."""
        return self._run.shape.columns

    @property
    def choices(self) -> tuple[str, ...]:
        """The answers to choose from; empty for open answers."""
        return self._run.choices

    def __repr__(self) -> str:
        return f"Model({str(self._run.run.path)!r}, columns={list(self.columns)})"

    def __call__(self, text: str | Mapping[str, Any] | None = None, **columns: Any) -> Answer:
        """The answer to one question.

        Args:
            text: the value of the only column, or the values by column.
            columns: the values by column.

        Raises:
            UsageError: a text is given for a question of several columns, or nothing is given.
            DataError: a column is missing or empty, or the question is too long.
        """
        from luthier.workflows.predict import RowSource

        if (text is None) == (not columns):
            raise UsageError(
                "a question is one text, a mapping, or values by column",
                fix=f"give the columns {', '.join(self.columns)}",
            )
        row = self._row(columns or text, "the question")
        (answer,) = self._answers(RowSource("the question", lambda _problems: [row]))
        return answer

    def predict(self, rows: Any) -> Any:
        """The answers to many questions, in their order.

        Args:
            rows: a list of questions as for a call, the path of a file, or a pandas DataFrame.

        Returns:
            A list of `Answer`; for a DataFrame a copy of it with the columns ``prediction`` and
            ``probability``, one for each choice, or ``finish``.

        Raises:
            UsageError: a DataFrame has a column of such a name, or something is no question.
            DataError: rows cannot be answered; all of them are listed. A DataFrame has two columns
                of one name.
        """
        from luthier.workflows.rows_to_answer import file_source, list_source

        if isinstance(rows, str | Path):
            return self._answers(file_source(rows))
        if not _is_frame(rows):
            return self._answers(list_source(self._listed(rows)))
        from luthier.data.columns import require_distinct_columns
        from luthier.workflows.predict import AddedColumns

        added = AddedColumns.of(self._run, None, "")
        names = [str(name) for name in rows.columns]
        require_distinct_columns(names, "the data frame")
        added.require_new(names, "the data frame")
        records = rows.set_axis(names, axis="columns").to_dict("records")
        answers = self._answers(list_source(self._listed(records))) if records else []
        values = [added.values(answer) for answer in answers]
        return rows.assign(**{name: [each[name] for each in values] for name in added.names})

    def _answers(self, source: RowSource) -> list[Answer]:
        """The answers to all rows of a source.

        Raises:
            DataError: rows cannot be answered; all of them are listed.
        """
        from luthier.core.errors import DataError
        from luthier.workflows.predict import answer_source, survey

        found = survey(self._run, source, self._console)
        problems, answers = ProblemList(), []
        chunks = answer_source(self._run, self._source, source, self._console, rows=found.rows)
        for answered, rejected in chunks:
            answers += [answer for _, answer in answered]
            for each in rejected:
                problems.add(DataError(each.reason, where=each.where))
        problems.raise_if_any()
        return answers

    def _listed(self, questions: object) -> list[Row]:
        """The rows of several questions.

        Raises:
            UsageError: they are not several, or one of them is no question.
        """
        if isinstance(questions, Mapping | bytes) or not isinstance(questions, Iterable):
            raise UsageError(
                "questions are a list, a DataFrame, or the path of a file",
                fix="write a single question in a list, or call the model with it",
            )
        return [self._row(each, f"row {number}") for number, each in enumerate(questions, start=1)]

    def _row(self, question: object, where: str) -> Row:
        """The row of a question.

        Raises:
            UsageError: it is neither a mapping nor the text of the only column.
        """
        from luthier.core.row import Row
        from luthier.data.fields import kind_of
        from luthier.data.json_text import null_for_nan

        if isinstance(question, str):
            return replace(self._run.shape.row_of(question), where=where)
        if isinstance(question, Mapping):
            return Row(null_for_nan(dict(question)), where)
        raise UsageError(
            f"a question is a text or a mapping from columns to values, not {kind_of(question)}",
            where=where,
            fix=f"give the columns {', '.join(self.columns)}",
        )


def _is_frame(rows: object) -> bool:
    """Whether rows are a pandas DataFrame; pandas is not imported for that."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(rows, pandas.DataFrame)
