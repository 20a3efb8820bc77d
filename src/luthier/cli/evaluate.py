"""``luthier evaluate``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import RenderableType

from luthier.cli.benchmark import BenchmarkOptions, benchmark
from luthier.cli.flags import Json, WholeOrNone
from luthier.cli.options import (
    CONFIGURATIONS,
    CommonOptions,
    is_data,
    read_configuration,
    read_settings,
)
from luthier.cli.output import print_json, print_result
from luthier.config import RunConfig
from luthier.config.load import override
from luthier.core.console import Console
from luthier.core.errors import UsageError


def evaluate(
    target: str | None = None,
    /,
    *arguments: str,
    common: CommonOptions | None = None,
    asked: BenchmarkOptions | None = None,
    shots: WholeOrNone = None,
    abstain: Annotated[float | None, Parameter(validator=Number(gt=0, lt=1))] = None,
    json: Json = False,
) -> None:
    """Evaluate a model or a tuned run on held-out test examples or on benchmark tasks.

    If interrupted, run the same command again to continue; finished answers are not repeated.

    Decoding is greedy unless evaluate.decoding.strategy=sampling (or beam) is given. Answers end at
    evaluate.max_new_tokens or a text of evaluate.stop. Benchmark tasks have their own settings,
    which these override; a setting that a task cannot use is an error.

    Args:
        target: A run directory (an adapt run stands for its recommended rung), a model (or the URL
            of a server), a YAML configuration, or a data file; with --tasks, several.
        arguments: Single settings as section.key=value.
        shots: Number of shots (worked examples) before each question.
        abstain: A confidence below which the model abstains, such as 0.9. Reports how many examples
            it still answers, and how many of these answers are right.
    """
    options = asked or BenchmarkOptions()
    if options.names:
        targets, config = _subjects((target, *arguments) if target else arguments, common)
        names = options.names
    else:
        subject, config = _one_subject(target, arguments, common)
        targets, names = ([subject] if subject else []), config.evaluate.tasks
    if abstain is not None:
        config = override(config, {"evaluate.abstain": abstain})
    if names:
        benchmark(targets, names, config, options, shots, as_json=json)
    elif options.limit or options.chat_template:
        raise UsageError(
            "--limit and --chat-template need --tasks",
            fix="name tasks, such as --tasks glue/rte; 'luthier tasks' lists them",
        )
    else:
        _evaluate_data(targets, config, shots, as_json=json)


def _one_subject(
    target: str | None, arguments: tuple[str, ...], common: CommonOptions | None
) -> tuple[str | None, RunConfig]:
    """A run or a model with its configuration; a run uses its own."""
    from luthier.api.configuration import configure_for
    from luthier.context.run_or_model import find_target

    run = find_target(target, Console()).run
    if run:
        if common and common.given:
            raise UsageError(
                "a run is evaluated with its own model and data",
                fix="leave out --model, --data, --template, --name, --output and --seed; to "
                "allow settings of a stored run, give data.source=… or model.id=…",
            )
        return str(run.path), configure_for(run, None, read_settings(arguments))
    is_model = target and not target.endswith(CONFIGURATIONS) and not is_data(target)
    if target and is_model and "=" not in target:
        return target, read_configuration(arguments, common)
    return None, read_configuration((target, *arguments) if target else arguments, common)


def _subjects(
    arguments: tuple[str, ...], common: CommonOptions | None
) -> tuple[list[str], RunConfig]:
    """Models and runs, with one configuration for all."""
    settings = [text for text in arguments if "=" in text or text.endswith(CONFIGURATIONS)]
    targets = [text for text in arguments if text not in settings]
    return targets, read_configuration(tuple(settings), common)


def _evaluate_data(
    targets: list[str], config: RunConfig, shots: int | None, *, as_json: bool
) -> None:
    """Evaluate on the test examples of the configuration's data."""
    import luthier

    overrides = {} if shots is None else {"prompt.shots": shots}
    result = luthier.evaluate(targets[0] if targets else None, config, overrides)
    if as_json:
        document = {"run": str(result.run.path), "report": str(result.report)}
        print_json({**document, **result.evaluation.model_dump(mode="json")})
        return
    from luthier.reports import evaluation_table
    from luthier.reports.benchmarks import asked_lines
    from luthier.reports.classes import abstention_table, class_table, trust_lines

    record = result.evaluation
    notes = (*asked_lines([("", [record])]), *trust_lines(record))
    parts: list[RenderableType] = [evaluation_table([record]), ""]
    if record.by_class:
        parts += [class_table(record.by_class), ""]
    if record.reliability and record.abstention:
        parts += [abstention_table(record.reliability, record.abstention), ""]
    print_result(*parts, *notes, *([""] if notes else []), f"Report: {result.report}")
