"""A key that was sent to a server is neither shown nor stored, whatever the server says."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.hostile_server import HostileServer, sending

from luthier.core.secrets import REPLACEMENT
from luthier.inference.remote.http import TransientError, Transport

KEY = "sk-SECRET-123/xyz"
PLACES = (
    "answer",
    "base64",
    "backwards",
    "lines",
    "name-of-model",
    "error",
    "error-plain",
    "error-later",
    "html",
    "location",
    "retry",
    "header-kind",
    "header-coding",
    "cut-by-length",
    "choices",
)


def repeating(server: Any, place: str) -> Callable[[str, Any], Any]:
    """A rule that says the key of the request in some place of the answer."""

    def rule(path: str, body: Any) -> Any:
        sent = server.seen[-1][2].get("Authorization", "")
        key = sent.removeprefix("Bearer ")
        if path == "/models":
            return {"data": [{"id": key if place == "name-of-model" else "m", "debug": sent}]}
        answers = {
            "answer": f"odd {sent}",
            "base64": base64.b64encode(sent.encode()).decode(),
            "backwards": key[::-1],
            "lines": "\n".join(key),
        }
        replies = {
            "error": (400, json.dumps({"error": {"message": sent}}), {}),
            "error-plain": (401, sent, {}),
            "error-later": (403, "x" * 290 + sent, {}),
            "html": (200, f"<html>{sent}", {}),
            "location": (302, "", {"Location": f"http://x/{key}"}),
            "retry": (503, sent, {"Retry_After": sent}),
            "header-kind": (200, "{}", {"Content_Type": f"text/{key}"}),
            "header-coding": (200, "{}", {"Content_Encoding": sent}),
            "cut-by-length": (200, f"{' ' * 20}{sent}", {"Content_Length": "38"}),
            "choices": (200, json.dumps({"choices": {sent: sent}}), {}),
        }
        if place in replies:
            status, content, headers = replies[place]
            raise server.reply(status, content.encode(), **headers)
        return {"choices": [{"message": {"content": answers.get(place, "odd")}}]}

    return rule


@pytest.mark.parametrize("place", PLACES)
def test_a_key_is_in_no_output_and_no_file(
    place: str,
    call: Any,
    loopback: Any,
    quick: tuple[str, ...],
    in_tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LUTHIER_TEST_KEY", KEY)
    loopback.rule = repeating(loopback, place)
    options = (
        *(each for each in quick if not each.startswith("model.id=")),
        "model.endpoint.api_key_env=LUTHIER_TEST_KEY",
        "model.endpoint.retries=1",
        "model.endpoint.backoff=0.01",
        # The keys of these answers are longer than four tokens.
        "evaluate.max_new_tokens=64",
    )
    outcome = call("evaluate", loopback.url, *options)
    assert any(KEY in headers.get("Authorization", "") for _, _, headers in loopback.seen)
    shown = outcome.out + outcome.err
    assert "Traceback" not in shown
    assert holds_none(shown), shown
    stored = [file for file in in_tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in stored if not holds_none(file.read_text("utf-8", "replace"))]
    assert "repeats the API key" in outcome.err  # in its list of models, at the latest
    if place in ("answer", "base64", "backwards", "lines"):
        assert outcome.code == 0
        assert "of the server held the API key" in outcome.err
        assert [file for file in stored if REPLACEMENT in file.read_text("utf-8", "replace")]
    elif place != "name-of-model":
        assert outcome.code in (2, 3, 4)


@pytest.mark.parametrize("content", [f"HTTP/1.1 {KEY}\r\n\r\n", f"Bearer {KEY}\r\n"])
def test_a_status_line_is_shown_without_the_key(content: str) -> None:
    with (
        HostileServer(sending(content.encode())) as server,
        pytest.raises(TransientError) as caught,
    ):
        Transport(server.url, KEY, timeout=5).exchange("/models")
    assert REPLACEMENT in caught.value.problem
    assert holds_none(caught.value.problem)


def holds_none(text: str) -> bool:
    """Whether neither the key nor most of it stands in a text."""
    flat = "".join(text.split())
    coded = base64.b64encode(f"Bearer {KEY}".encode()).decode()
    found = (KEY, KEY[:-1], KEY[1:], KEY[:12], KEY[::-1], coded, coded[12:-4])
    return not any(part in flat for part in found)
