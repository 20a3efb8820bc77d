"""``luthier config``."""

from __future__ import annotations

from luthier.cli.flags import Json
from luthier.cli.groups import command_group
from luthier.cli.options import read_configuration
from luthier.cli.output import print_json, print_result

app = command_group("config", "Show the configuration or its schema.")


@app.command
def show(*arguments: str, json: Json = False) -> None:
    """Print the complete configuration: every setting with its resolved value.

    Args:
        arguments: A YAML file or a file of data, and single settings as section.key=value.
    """
    from luthier.config.load import to_yaml

    config = read_configuration(arguments, None)
    if json:
        print_json(config.model_dump(mode="json", by_alias=True))
    else:
        print_result(to_yaml(config).rstrip())


@app.command
def schema(*, json: Json = False) -> None:
    """Print the JSON schema of the configuration, with a description of every setting.

    Args:
        json: Accepted for consistency; the output is always JSON.
    """
    from luthier.config import RunConfig

    print_json(RunConfig.model_json_schema(by_alias=True))
