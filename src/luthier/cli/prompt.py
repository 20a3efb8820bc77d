"""``luthier prompt``."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from luthier.cli.flags import Json, Whole, WholeOrNone
from luthier.cli.options import CommonOptions, read_configuration, read_settings
from luthier.cli.output import print_json, print_result
from luthier.config import RunConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, UsageError
from luthier.records.prediction import Answer
from luthier.records.run_directory import RunDirectory


def prompt(
    *arguments: str,
    question: Annotated[
        tuple[str, ...],
        Parameter(
            name="--input",
            negative="",
            show_default=False,
            help="A question of your own. With --run it is the text of the task's column; give "
            "several columns as name=text, each with an --input of its own.",
        ),
    ] = (),
    input_json: Annotated[
        str | None, Parameter(help="The values of the columns as a JSON object.")
    ] = None,
    common: CommonOptions | None = None,
    run: str | None = None,
    shots: WholeOrNone = None,
    num: Annotated[Whole, Parameter(validator=Number(gte=1))] = 3,
    templates: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json: Json = False,
) -> None:
    """Prompt a model: in-context learning with zero, one or a few shots.

    A run renders the question with its own task, and answers as it was evaluated.
    Without --input, the first test examples of the task are asked and their references shown.
    Decoding is greedy unless evaluate.decoding.strategy=sampling (or beam) is given. Answers end at
    evaluate.max_new_tokens or a text of evaluate.stop. See 'luthier config schema'.

    Args:
        arguments: A YAML file or a file of data, and single settings as section.key=value.
        run: A run to ask in place of a base model; an adapt run stands for its recommended rung.
        shots: Number of shots (worked examples) before the question.
        num: Number of test examples to ask.
        templates: List the template library.
    """
    if templates:
        _list_templates(as_json=json)
        return
    import luthier

    if run and common and common.model is not None:
        raise UsageError("a run is prompted with its own model", fix="leave out --model, or --run")
    from luthier.context.run_or_model import open_target

    named = open_target(run, Console()).run if run else None
    config = _configuration(named, arguments, common, shots)
    path = named.path if named else None
    asked = _values(input_json) if input_json is not None else question or None
    answers = luthier.prompt(config, question=asked, run=path, num=num)
    if json:
        print_json([answer.model_dump(mode="json") for answer in answers])
        return
    for number, answer in enumerate(answers, start=1):
        print_result(f"── {number} ── prompt", answer.prompt, "── answer", answer.prediction)
        if answer.likelihoods:
            shares = Answer.of(answer).probabilities.items()
            print_result("── probabilities", "\n".join(f"{p:.3f}  {name}" for name, p in shares))
        if answer.references:
            print_result("── accepted", "\n".join(answer.references))
        print_result("")


def _values(text: str) -> dict[str, Any]:
    """The values of columns from a JSON object.

    Raises:
        UsageError: it is no JSON object.
    """
    from luthier.core.untrusted import parse_record

    try:
        values = parse_record(text, "--input-json")
    except DataError as error:
        raise UsageError(error.problem, where=error.where) from None
    if not isinstance(values, dict):
        raise UsageError(
            "this is not a JSON object",
            where="--input-json",
            fix="""write such as '{"subject": "Refund", "body": "Where is it?"}'""",
        )
    return values


def _configuration(
    run: RunDirectory | None,
    arguments: tuple[str, ...],
    common: CommonOptions | None,
    shots: int | None,
) -> RunConfig:
    """The run's configuration, as far as it can be trusted, or that of the command line."""
    if run is None:
        return read_configuration(arguments, common, prompt__shots=shots)
    from luthier.api.configuration import configure_for

    flags = {**(common.flags() if common else {}), "prompt.shots": shots}
    given = {key: value for key, value in flags.items() if value is not None}
    return configure_for(run, None, {**read_settings(arguments), **given})


def _list_templates(*, as_json: bool) -> None:
    from luthier.core.tables import Table
    from luthier.tasks.load import library_templates

    found = library_templates()
    if as_json:
        print_json([template.model_dump(mode="json") for template in found])
        return
    table = Table("template")
    table.prose("columns")
    table.prose("metrics")
    for template in found:
        columns = ", ".join(sorted(template.columns))
        table.add_row(template.name, columns, ", ".join(template.metrics))
    print_result(table)
