"""Every command with its options, as ``--help`` shows them."""

from __future__ import annotations

import re

from luthier.cli.main import application


def every_command() -> str:
    """A heading for every command and subcommand, and under it its arguments and options."""
    text = application().generate_docs(output_format="markdown")
    _, _, commands = text.partition("\n## luthier ")
    commands = re.sub(r"^(#+) (.+)$", r"\1 `\2`", f"## luthier {commands}", flags=re.MULTILINE)
    return commands.replace("```console", "```text")
