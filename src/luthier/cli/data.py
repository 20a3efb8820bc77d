"""``luthier data``."""

from __future__ import annotations

from luthier.cli.flags import Json
from luthier.cli.groups import command_group
from luthier.cli.options import CommonOptions, read_configuration
from luthier.cli.output import print_json, print_result
from luthier.core.console import Console

app = command_group("data", "Inspect data: format, lengths, trained tokens.")


@app.command
def show(*arguments: str, common: CommonOptions | None = None, json: Json = False) -> None:
    """Show a rendered example with its trained tokens, lengths, and dropped rows with reasons.

    Args:
        arguments: A YAML file or a file of data, and single settings as section.key=value.
    """
    config = read_configuration(arguments, common)
    from luthier.context.prepare import prepare
    from luthier.context.training_data import max_length
    from luthier.data.inspect import ModelView, inspect_dataset
    from luthier.data.show import render_report

    console = Console()
    context = prepare(config, console)
    view = ModelView(
        renderer=context.renderer.tokenised(),
        decode=lambda ids: str(context.weights().tokenizer.decode(list(ids))),
        max_length=max_length(context),
        invalid=config.data.invalid,
    )
    report = inspect_dataset(
        context.dataset,
        view,
        completion_only_loss=config.train.completion_only_loss,
        console=console,
    )
    if json:
        print_json(report.model_dump(mode="json"))
    else:
        print_result(render_report(report))


@app.command
def mix(*arguments: str, common: CommonOptions | None = None, json: Json = False) -> None:
    """Show the sources of a mixture: examples, draws, passes, shares of tokens and gradient.

    Args:
        arguments: A mixture's YAML file, and single settings as section.key=value.
    """
    config = read_configuration(arguments, common)
    from luthier.context.prepare import prepare
    from luthier.context.training_data import mixture_account
    from luthier.data.mixture.show import render_account

    report = mixture_account(prepare(config, Console()))
    if json:
        print_json(report.model_dump(mode="json"))
    else:
        print_result(render_account(report))
