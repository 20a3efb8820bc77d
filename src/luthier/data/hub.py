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
"""Builders that only read data. Others unpickle files, or decode images and audio."""
_CACHE = "cache"
"""The builder that reads, offline, data that any builder has prepared before."""


def open_hub(name: str, subset: str | None) -> Mapping[str, Callable[[], Iterator[Row]]]:
    """The splits of a Hub data set, downloaded once into the cache of ``datasets``.

    Offline, they come from this cache or from a download with ``hf download``.

    Raises:
        DataError: ``datasets`` is not installed, the data set cannot be reached or lacks this
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
                    f"the data set's files are of the unsupported kind {builder.name!r}",
                    where=name,
                    fix=f"Luthier reads {', '.join(sorted(_FORMATS))}",
                )
            builder.download_and_prepare()
            splits = builder.as_dataset()
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        unreached = isinstance(error, ConnectionError)
        reason = "cannot be reached" if unreached else f"does not provide it: {_first_line(error)}"
        raise DataError(
            f"this is not a file or folder, and the Hub {reason}",
            where=name,
            fix="check the name and data.subset; offline, run 'hf download --repo-type dataset "
            f"{name}' before, or give a file",
        ) from None
    return {split: _rows(f"{name}/{split}", rows) for split, rows in splits.items()}


@contextmanager
def _hub_or_offline() -> Iterator[None]:
    """Make datasets use local files, or fail at once, if the Hub does not respond.

    By default it would retry for half a minute, with output.
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
    """Whether a server responds, with whatever content."""
    from huggingface_hub import get_session

    try:
        # The timeout restarts with each byte.
        Deadline(2 * _TIMEOUT_S).call(lambda: get_session().head(endpoint, timeout=_TIMEOUT_S))
    except Exception:  # noqa: BLE001 - of whichever HTTP library huggingface_hub uses
        return False
    return True


def _builder(name: str, subset: str | None) -> Any:
    """The builder of a data set."""
    import datasets

    try:
        return datasets.load_dataset_builder(name, subset)
    except (OSError, ValueError):
        # Offline, datasets finds data that it has prepared, but not files downloaded without it.
        folder = _fetched(name)
        if folder is None:
            raise
    return datasets.load_dataset_builder(folder, subset)


def _fetched(name: str) -> str | None:
    """The folder of a data set in the Hub's cache, if complete."""
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
    """The Hub's message, without the token sent to it."""
    from huggingface_hub import get_token

    said = Secrets.of_environment(get_token()).scrub(str(error))
    return (said.strip() or type(error).__name__).splitlines()[0]
