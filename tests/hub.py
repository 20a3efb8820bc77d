"""A server on this machine that speaks as the Hub does."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

COMMIT = hashlib.sha1(b"the only commit").hexdigest()


class Hub:
    """Repositories as folders, by their ids."""

    def __init__(self, server: Any, root: Path) -> None:
        self.server, self.root = server, root
        server.rule = self._answer

    def add(self, name: str, folder: Path) -> Path:
        return Path(shutil.copytree(folder, self.root / name))

    @property
    def fetched(self) -> set[str]:
        """The files that were asked for, wherever they are in their repositories."""
        asked = (path.partition("/resolve/")[2] for path, _, _ in self.server.seen)
        return {path.partition("/")[2] for path in asked if path}

    def _answer(self, path: str, _body: Any) -> Any:
        path = path.partition("?")[0]
        if path.startswith("/api/models/"):
            return self._api(path.removeprefix("/api/models/"))
        name, _, rest = path.lstrip("/").partition("/resolve/")
        return self._file(self.root / name / rest.partition("/")[2])

    def _api(self, path: str) -> Any:
        name = "/".join(path.split("/")[:2])
        folder = self.root / name
        if not folder.is_dir():
            raise self.server.reply(404, b"", X_Error_Code="RepoNotFound")
        files = sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())
        if "/tree/" in path:
            return [
                {"type": "file", "path": f, "oid": "0", "size": (folder / f).stat().st_size}
                for f in files
            ]
        return {"id": name, "sha": COMMIT, "siblings": [{"rfilename": f} for f in files]}

    def _file(self, path: Path) -> Any:
        if not path.is_file():
            raise self.server.reply(404, b"", X_Error_Code="EntryNotFound")
        content = path.read_bytes()
        tag = hashlib.sha256(content).hexdigest()
        raise self.server.reply(200, content, ETag=f'"{tag}"', X_Repo_Commit=COMMIT)
