"""The token that the Hub is sent is not shown, whatever the Hub or a library on the way says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from luthier.core.secrets import REPLACEMENT

TOKEN = "hf_0123456789abcdefghijABCDEFGHIJ"
SAYS = {
    "a header": (403, b"", {"X_Error_Message": "the token {} may not see this"}),
    "JSON": (403, b'{"error": "Bearer {} is not allowed"}', {}),
    "a page": (404, b"<html>no {} here</html>", {"X_Error_Message": "{}"}),
    "an unknown code": (
        400,
        b'{"error": "{}"}',
        {"X_Error_Code": "Unknown", "X_Error_Message": "{}"},
    ),
    "a number of the request": (401, b"", {"x_amzn_requestid": "{}", "X_Request_Id": "{}"}),
    "a redirect": (302, b"", {"Location": "http://127.0.0.1:9/{}"}),
    "a gate": (403, b"", {"X_Error_Code": "GatedRepo", "X_Error_Message": "ask for {}"}),
}
COMMANDS = {
    "pull": ("models", "pull", "owner/model"),
    "model": ("prompt", "--model", "owner/model", "--input", "hi"),
    "data": ("data", "show", "--data", "owner/rows"),
    "plan": ("plan", "owner/model"),
}


@pytest.fixture
def repeating(loopback: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Hub that repeats the token in what it answers: ``repeating(kind)``."""
    endpoint = loopback.url.removesuffix("/v1")
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in {
        "HF_HUB_OFFLINE": False,
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setattr(constants, name, value)
    config = pytest.importorskip("datasets").config
    monkeypatch.setattr(config, "HF_ENDPOINT", endpoint)
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    def repeat(kind: str) -> None:
        status, content, headers = SAYS[kind]

        def rule(_path: str, _body: Any) -> Any:
            sent = loopback.seen[-1][2].get("authorization") or loopback.seen[-1][2].get(
                "Authorization", TOKEN
            )
            key = sent.removeprefix("Bearer ")
            said = {name: value.replace("{}", key) for name, value in headers.items()}
            raise loopback.reply(status, content.replace(b"{}", key.encode()), **said)

        loopback.rule = rule

    return repeat


@pytest.mark.parametrize("kind", SAYS)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_token_of_the_hub_is_not_shown(
    command: str, kind: str, repeating: Any, call: Any, in_tmp_path: Path, loopback: Any
) -> None:
    repeating(kind)
    outcome = call(*COMMANDS[command])
    assert outcome.code in (2, 3, 4), outcome.err
    assert loopback.seen  # the Hub was asked
    shown = outcome.out + outcome.err
    assert "Traceback" not in shown
    assert TOKEN not in "".join(shown.split())
    stored = [path for path in in_tmp_path.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in stored)


def test_the_words_beside_the_token_are_shown(repeating: Any, call: Any, in_tmp_path: Path) -> None:
    repeating("a header")
    said = " ".join(call(*COMMANDS["pull"]).err.split())
    assert f"the token {REPLACEMENT} may not see this" in said


def test_json_is_as_silent(repeating: Any, call: Any, in_tmp_path: Path) -> None:
    repeating("JSON")
    outcome = call(*COMMANDS["pull"], "--json")
    assert TOKEN not in json.dumps([outcome.out, outcome.err])
