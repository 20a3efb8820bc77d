"""Data sets of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from luthier.core.deadline import Deadline
from luthier.core.errors import DataError
from luthier.core.row import Row
from luthier.core.secrets import Secrets

_TIMEOUT_S = 10.0
_FORMATS = frozenset({"arrow", "csv", "json", "parquet", "text"})
"""Builders that only read data. Others unpickle files, or decode images and sound."""
_CACHE = "cache"
"""The builder that reads, offline, what datasets has prepared before, by whichever builder."""


def open_hub(name: str, subset: str | None) -> Mapping[str, Callable[[], Iterator[Row]]]:
    """The splits of a Hub data set, downloaded once into the cache of ``datasets``.

    Without a network they are those of this cache, or of what ``hf download`` has fetched.

    Raises:
        DataError: ``datasets`` is not installed, the data set cannot be reached or has no such
            subset, or its files are not plain data.
    """
    try:
        import datasets
    except ImportError:
        raise DataError(
            "data sets of the Hub need the datasets package, which is not installed",
            where=name,
            fix="run: pip install 'luthier[hub]'",
        ) from None
    try:
        with _hub_or_offline():
            builder = _builder(name, subset)
            if builder.name not in {*_FORMATS, _CACHE}:
                raise DataError(
                    f"the data set's files are of the kind {builder.name!r}, which is not read",
                    where=name,
                    fix=f"Luthier reads {', '.join(sorted(_FORMATS))}",
                )
            builder.download_and_prepare()
            splits = builder.as_dataset()
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        unreached = isinstance(error, ConnectionError)
        reason = "cannot be reached" if unreached else f"does not give it: {_first_line(error)}"
        raise DataError(
            f"this is no file or folder, and the Hub {reason}",
            where=name,
            fix="check the name and data.subset; offline, run 'hf download --repo-type dataset "
            f"{name}' before, or give a file",
        ) from None
    return {split: _rows(f"{name}/{split}", rows) for split, rows in splits.items()}


@contextmanager
def _hub_or_offline() -> Iterator[None]:
    """Within, where the Hub does not answer, datasets takes what is on this machine, or fails.

    By itself it would first ask again and again, for half a minute and on the screen.
    """
    import datasets
    from huggingface_hub import constants

    if _answers(constants.ENDPOINT):
        yield
        return
    switches: tuple[Any, ...] = (constants, datasets.config)
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    try:
        for switch in switches:
            switch.HF_HUB_OFFLINE = True
        yield
    finally:
        for switch, was in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = was


def _answers(endpoint: str) -> bool:
    """Whether there is a server; what it says does not matter."""
    from huggingface_hub import get_session

    try:
        # The timeout begins anew with each byte.
        Deadline(2 * _TIMEOUT_S).call(lambda: get_session().head(endpoint, timeout=_TIMEOUT_S))
    except Exception:  # noqa: BLE001 - of whichever HTTP library huggingface_hub uses
        return False
    return True


def _builder(name: str, subset: str | None) -> Any:
    """What reads a data set."""
    import datasets

    try:
        return datasets.load_dataset_builder(name, subset)
    except (OSError, ValueError):
        # Offline, datasets finds what it has prepared, but not files that were fetched without it.
        folder = _fetched(name)
        if folder is None:
            raise
    return datasets.load_dataset_builder(folder, subset)


def _fetched(name: str) -> str | None:
    """The folder of a data set in the cache of the Hub, if all of it is there."""
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(name, repo_type="dataset", local_files_only=True)
    except (OSError, ValueError):
        return None


def _rows(name: str, rows: Any) -> Callable[[], Iterator[Row]]:
    def read() -> Iterator[Row]:
        for index, values in enumerate(rows, start=1):
            yield Row(dict(values), f"{name} row {index}")

    return read


def _first_line(error: Exception) -> str:
    """What the Hub says, without the token that it was sent."""
    from huggingface_hub import get_token

    said = Secrets.of_environment(get_token()).scrub(str(error))
    return (said.strip() or type(error).__name__).splitlines()[0]
