"""A server on this machine that takes uploads as the Hub does, for huggingface_hub's own client."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_SecretOfTheUser0123456789"


class UploadServer(ThreadingHTTPServer):
    """Repositories by id and branch: the content of each file by its name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.created: list[dict[str, Any]] = []
        self.branches: list[str] = []
        self.files: dict[str, dict[str, bytes]] = {}
        self.tokens: set[str] = set()
        self.refuses = False
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, body: bytes) -> Any:
        if path == "/api/repos/create":
            self.created.append(json.loads(body))
            return {"url": f"{self.url}/{self._name(self.created[-1])}"}
        if path == "/api/validate-yaml":
            assert json.loads(body)["content"].startswith("---\n")
            return {"errors": [], "warnings": []}
        _, _, _, owner, name, action, *rest = path.split("/")
        repo = f"{owner}/{name}"
        if action == "branch":
            self.branches.append(rest[0])
            return {}
        if action == "preupload":
            paths = [file["path"] for file in json.loads(body)["files"]]
            usual = {"uploadMode": "regular", "shouldIgnore": False}
            return {"files": [{"path": path, **usual} for path in paths]}
        assert action == "commit", path
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                self.files.setdefault(f"{repo}@{rest[0]}", {})[line["value"]["path"]] = content
        commit = {"commitOid": "0" * 40, "commitUrl": f"{self.url}/{repo}/commit/{'0' * 40}"}
        return {**commit, "success": True}

    @staticmethod
    def _name(created: dict[str, Any]) -> str:
        return f"{created['organization']}/{created['name']}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: UploadServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.tokens.add(self.headers.get("Authorization", ""))
        if self.server.refuses:  # and repeats the token, as some proxies do
            self._send(403, {"error": f"no right to write with {self.headers['Authorization']}"})
        else:
            self._send(200, self.server.answer(self.path.partition("?")[0], body))

    def _send(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
