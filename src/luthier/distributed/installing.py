"""Where a machine of a cluster gets Luthier from."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from luthier import __version__
from luthier.core.errors import UsageError

_URL = re.compile(r"(git\+)?(https|ssh|file)://\S+")
_REQUIREMENT = re.compile(r"luthier(\[[\w,-]+\])?(\s*(==|>=|~=)\s*[\w.+!-]+)?")


@dataclass(frozen=True, slots=True)
class Source:
    """What pip installs.

    Attributes:
        requirement: for pip: a path, a URL, or a name with a version.
        path: the wheel or folder, where it is one on this machine.
    """

    requirement: str
    path: Path | None = None


def find_source(given: str | None) -> Source:
    """The wheel, folder, URL or version that is given, or the one that runs here.

    Raises:
        UsageError: there is no such file, or pip would not take it.
    """
    given = given or _running()
    path = Path(given).expanduser()
    if path.suffix == ".whl" and path.is_file():
        return Source(str(path.resolve()), path.resolve())
    if (path / "pyproject.toml").is_file():
        return Source(str(path.resolve()), path.resolve())
    if _URL.fullmatch(given) or _REQUIREMENT.fullmatch(given):
        return Source(given)
    raise UsageError(
        f"pip cannot install Luthier from {given!r}",
        fix="give a wheel, a folder with pyproject.toml, git+https://…, or luthier==VERSION",
    )


def _running() -> str:
    """What the running Luthier was installed from."""
    try:
        recorded = json.loads(distribution("luthier").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        recorded = {}
    url = str(recorded.get("url", ""))
    if url.startswith("file://"):
        return unquote(urlsplit(url).path)
    if commit := recorded.get("vcs_info", {}).get("commit_id"):
        return f"git+{url}@{commit}"
    return url or f"luthier=={__version__}"
