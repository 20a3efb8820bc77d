"""The source from which a cluster machine installs Luthier."""

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
    """A source for pip.

    Attributes:
        requirement: a path, a URL, or a name with a version.
        path: the wheel or folder, if it is on this machine.
    """

    requirement: str
    path: Path | None = None


def find_source(given: str | None) -> Source:
    """The given wheel, folder, URL or version, or the source of the running Luthier.

    Raises:
        UsageError: the file does not exist, or pip would reject it.
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
    """The source from which the running Luthier was installed."""
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
