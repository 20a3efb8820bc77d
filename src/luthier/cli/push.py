"""``luthier push``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from luthier.cli.flags import Json
from luthier.cli.options import read_settings
from luthier.cli.output import print_json, print_result
from luthier.core.console import Console
from luthier.core.units import format_bytes

if TYPE_CHECKING:
    from luthier.workflows.publication import Publication

_Flag = Parameter(negative="", show_default=False)


def push(
    run: str,
    repo: str,
    /,
    *settings: str,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    base: str | None = None,
    branch: str = "main",
    private: Annotated[bool, _Flag] = False,
    example: Annotated[bool, _Flag] = False,
    dry_run: Annotated[bool, _Flag] = False,
    yes: Annotated[bool, _Flag] = False,
    json: Json = False,
) -> None:
    """Publish a tuned model on the Hugging Face Hub, with a filled model card.

    The folder to upload is written first: adapter or model, card, task and figures. It names no
    folder of this machine and has no row of the data. Nothing else is uploaded.

    Args:
        run: A finished tune run, an adapt run (its recommended rung), or a rung, such as
            runs/NAME/rungs/lora.
        repo: The id on the Hub: owner/name.
        settings: Settings that a stored run may not decide, such as model.trust_remote_code=true.
        output: The folder to write; default: hub in the run.
        base: The base model's id on the Hub, if the run names only a local folder.
        branch: The branch to upload to.
        private: Make a new repository private.
        example: Show one training example in the card.
        dry_run: Write the folder, upload nothing.
        yes: Upload without asking.
    """
    import luthier

    console = Console()
    given = read_settings(settings)
    if dry_run:
        written = luthier.prepare_push(
            run, repo, output, console, base=base, example=example, overrides=given
        )
        folder, files, url = written.folder, written.files, ""
    else:
        result = luthier.push(
            run,
            repo,
            output,
            console,
            base=base,
            example=example,
            private=private,
            branch=branch,
            confirm=None if yes or not sys.stdin.isatty() else _asks(repo, console),
            overrides=given,
        )
        folder, files, url = result.folder, result.files, result.url
    if json:
        print_json({"folder": str(folder), "files": dict(files), "url": url or None})
        return
    print_result(*_listed(folder, files))
    print_result("", f"Uploaded: {url}" if url else "Nothing was uploaded.")


def _listed(folder: Path, files: Mapping[str, int]) -> list[str]:
    """The files of a folder with their sizes, a line each."""
    width = max(map(len, files), default=0)
    lines = [f"  {name:<{width}}  {format_bytes(size):>9}" for name, size in files.items()]
    return [f"{folder}: {len(files)} files", *lines]


def _asks(repo: str, console: Console) -> Callable[[Publication], bool]:
    """A question to the user, with the files that would be uploaded."""

    def confirm(written: Publication) -> bool:
        for line in _listed(written.folder, written.files):
            console.say(line)
        console.say(f"Upload them to {repo}? [y/N]")
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return confirm
