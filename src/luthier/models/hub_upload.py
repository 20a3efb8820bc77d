"""Uploads to the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from luthier.core.console import Console
from luthier.core.errors import ResourceError, UsageError
from luthier.core.secrets import Secrets
from luthier.models.resolve import is_hub_id

MAIN = "main"
"""The branch that the Hub shows and loads by default."""


def require_repo(repo: str) -> None:
    """Check that a name can be the id of a repository.

    Raises:
        UsageError: it is not ``owner/name``.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    problem = f"{repo!r} is no id of a repository on the Hub"
    if not is_hub_id(repo):
        raise UsageError(problem, fix="write owner/name, such as ada/ticket-router")
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UsageError(problem, fix=str(error)) from None


def upload(
    folder: Path,
    names: Sequence[str],
    repo: str,
    console: Console,
    *,
    private: bool,
    branch: str,
) -> str:
    """The address of a commit with the files of a folder, in a repository created if missing.

    Args:
        folder: the folder.
        names: the files to upload; nothing else is.
        repo: the id of the repository.
        console: shows progress.
        private: whether a new repository is private; False: as its owner has set it.
        branch: the branch, created if missing.

    Raises:
        ResourceError: there is no token, the Hub cannot be reached, or it refuses the upload.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token

    kept = f"the files are in {folder}"
    if constants.HF_HUB_OFFLINE:
        raise ResourceError(
            "nothing was uploaded: HF_HUB_OFFLINE forbids it", fix=f"unset it; {kept}"
        )
    if not (token := get_token()):
        raise ResourceError(
            "nothing was uploaded: there is no token of the Hub on this machine",
            fix=f"run 'hf auth login' or set HF_TOKEN, and push again; {kept}",
        )
    api = HfApi(endpoint=constants.ENDPOINT)
    files = [CommitOperationAdd(name, folder / name) for name in names]
    try:
        with console.progress(f"Uploading to {repo}", None):
            api.create_repo(repo, private=private or None, exist_ok=True)
            if branch != MAIN:
                api.create_branch(repo, branch=branch, exist_ok=True)
            commit = api.create_commit(
                repo, files, commit_message="Upload a model tuned with Luthier", revision=branch
            )
    except Exception as error:  # noqa: BLE001 - of whichever HTTP library huggingface_hub uses
        said = Secrets.of_environment(token).scrub(str(error)).strip() or type(error).__name__
        raise ResourceError(
            f"the upload to {repo} failed: {said}",
            fix=f"check the network, the name, and that your token may write there; {kept}",
        ) from None
    return str(commit.commit_url)
