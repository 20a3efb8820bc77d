"""Publish a tuned model on the Hugging Face Hub: `luthier push`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.api.configuration import Overrides
from luthier.api.results import PushResult
from luthier.config.stored import grants
from luthier.context.run_or_model import open_runs
from luthier.core.console import Console
from luthier.records.run_lock import writing

if TYPE_CHECKING:
    from luthier.workflows.publication import Publication


def prepare_push(
    run: str | Path,
    repo: str,
    output: str | Path | None = None,
    console: Console | None = None,
    *,
    base: str | None = None,
    example: bool = False,
    overrides: Overrides = None,
) -> Publication:
    """Write the folder that `push` uploads, without uploading it.

    It has the adapter or the whole model, a model card, the task's file and all figures. No file
    names a folder of this machine, and none has a row of the data.

    Args:
        run: a finished tune run, a rung of an adapt run, or an adapt run, which stands for the rung
            that it recommends.
        repo: the Hub id, ``owner/name``.
        output: a new or empty folder; None: ``hub`` in the run, which is replaced.
        console: shows progress.
        base: the Hub id of the base model, if the run names only a local folder.
        example: whether to show one training example in the card.
        overrides: settings that a stored run may not decide.

    Raises:
        UsageError: the id is not valid, an adapter's base has no Hub id, or the folder is not
            empty.
        DataError: the run has no tuned model.

    Example:
        >>> import luthier
        >>> found = luthier.prepare_push("runs/tuned", "ada/ticket-router", base="ada/base")
        >>> "README.md" in found.files
        True
    """
    from luthier.core.folders import free_folder
    from luthier.models.hub_upload import require_repo
    from luthier.workflows.publication import write_publication

    for name in (repo, base):
        if name is not None:
            require_repo(name)
    console = console or Console()
    (opened,) = open_runs([run], console)
    folder = Path(output) if output else opened.published
    given = grants(overrides or {})
    with writing(opened, console) if output is None else free_folder(folder):
        return write_publication(
            opened, repo, folder, console, base=base, example=example, given=given
        )


def push(
    run: str | Path,
    repo: str,
    output: str | Path | None = None,
    console: Console | None = None,
    *,
    base: str | None = None,
    example: bool = False,
    private: bool = False,
    branch: str = "main",
    confirm: Callable[[Publication], bool] | None = None,
    overrides: Overrides = None,
) -> PushResult:
    """Upload a tuned model to the Hub, in a repository that is created if missing.

    Args:
        run: see `prepare_push`.
        repo: see `prepare_push`.
        output: see `prepare_push`.
        console: see `prepare_push`.
        base: see `prepare_push`.
        example: see `prepare_push`.
        private: whether a new repository is private.
        branch: the branch to upload to, created if missing.
        confirm: decides, from the written folder, whether it is uploaded; None: it is.
        overrides: see `prepare_push`.

    Raises:
        UsageError, DataError: see `prepare_push`.
        ResourceError: there is no token, or the Hub cannot be reached or refuses; the written
            folder stays.

    Example:
        >>> import luthier
        >>> result = luthier.push("runs/tuned", "ada/ticket-router")  # doctest: +SKIP
    """
    from luthier.models.hub_upload import upload

    console = console or Console()
    written = prepare_push(
        run, repo, output, console, base=base, example=example, overrides=overrides
    )
    if confirm is not None and not confirm(written):
        return PushResult(written.folder, written.files, "")
    names = list(written.files)
    url = upload(written.folder, names, repo, console, private=private, branch=branch)
    return PushResult(written.folder, written.files, url)
