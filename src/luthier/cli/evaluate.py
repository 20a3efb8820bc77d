"""``luthier evaluate``."""

from __future__ import annotations

from luthier.cli.before_after import print_forgotten, print_sample_size
from luthier.cli.flags import Json
from luthier.cli.options import CONFIGURATIONS, CommonOptions, read_configuration
from luthier.cli.output import print_json, print_result
from luthier.core.errors import UsageError


def evaluate(
    target: str | None = None,
    /,
    *arguments: str,
    common: CommonOptions | None = None,
    shots: int | None = None,
    before: str | None = None,
    after: str | None = None,
    power: float | None = None,
    base_rate: float | None = None,
    json: Json = False,
) -> None:
    """Measure a model or a tuned run on the held-out test examples.

    Interrupted, the same command goes on with the answers it has; finished, it asks nothing again.

    Args:
        target: A run directory, a model, or a YAML configuration.
        arguments: Single settings as section.key=value.
        shots: Worked examples before each question.
        before: With --after: the model or run before; without it, the run's base model.
        after: A tuned run: what did it forget, item by item and kind by kind?
        power: How many examples show this difference? From the run's scores, or --base-rate.
        base_rate: With --power and no run: the share of right answers to expect.
    """
    if power is not None:
        print_sample_size(power, target, base_rate, as_json=json)
        return
    if after is not None:
        print_forgotten(after, before, as_json=json)
        return
    if before is not None or base_rate is not None:
        raise UsageError(
            "--before needs --after, and --base-rate needs --power",
            fix="luthier evaluate --before MODEL --after RUN, or --power 0.02 --base-rate 0.7",
        )
    from luthier import api

    overrides = {} if shots is None else {"prompt.shots": shots}
    run = api.as_run(target)
    if run:
        if common and any(value is not None for value in common.flags().values()):
            raise UsageError(
                "a run is measured with its own model and data",
                fix="leave out --model, --data, --template, --name, --output and --seed",
            )
        config = read_configuration((str(run.config), *arguments), None)
        result = api.evaluate(run.path, config, overrides)
    elif target and not target.endswith(CONFIGURATIONS) and "=" not in target:
        result = api.evaluate(target, read_configuration(arguments, common), overrides)
    else:
        config = read_configuration((target, *arguments) if target else arguments, common)
        result = api.evaluate(None, config, overrides)
    if json:
        document = {"run": str(result.run.path), "report": str(result.report)}
        print_json({**document, **result.evaluation.model_dump(mode="json")})
        return
    from luthier.report import evaluation_table

    print_result(evaluation_table([result.evaluation]), "", f"Report: {result.report}")
