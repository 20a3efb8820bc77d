"""Servers on the command line: measured, asked, and as judges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import ResourceError, UsageError

Call = Callable[..., Any]
FAST = ("model.endpoint.retries=0", "model.endpoint.backoff=0.01")


@pytest.fixture
def polite(loopback: Any) -> Any:
    """A server with two models that says "odd", or as a judge that the first is better."""

    def rule(path: str, body: Any) -> Any:
        if path == "/models":
            return {"data": [{"id": "org/mini:1b"}, {"id": "other"}]}
        judged = "Answer A:" in body["messages"][-1]["content"]
        content = "Verdict: A" if judged else "odd"
        return {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}

    loopback.rule = rule
    return loopback


def test_a_server_is_measured_and_judged(
    call: Call, polite: Any, quick: tuple[str, ...], in_tmp_path: Path
) -> None:
    data = [each for each in quick if not each.startswith("model.id=")]
    options = (*data, *FAST, "--json")
    runs = [
        call("evaluate", polite.url, "--model-name", name, *options).document
        for name in ("org/mini:1b", "other")
    ]
    assert {run["model"]["endpoint"] for run in runs} == {polite.url}
    assert [run["model"]["id"] for run in runs] == ["org/mini:1b", "other"]
    assert 0 < runs[0]["metrics"][0]["value"] < 1
    names = [run["run"] for run in runs]
    assert "mini-1b" in names[0]
    arguments = (names[0], "--model", polite.url, "--model-name", "other", *FAST)
    (judgement,) = call("judge", *arguments, "--json").document
    assert judgement["baseline"] == "references"
    assert judgement["inconsistent"] > 0
    shown = call("judge", *arguments).out
    assert "inconsistent" in shown
    assert "100%" in shown
    outcome = call("judge", names[0], "--model", "http://a..b/v1", *FAST)
    assert (outcome.code, "the name or the address of no host" in outcome.err) == (2, True)


def test_prompt_asks_a_server(call: Call, polite: Any, in_tmp_path: Path) -> None:
    outcome = call(
        "prompt", "--model", polite.url, "--model-name", "other", "--input", "Why?", *FAST
    )
    assert "odd" in outcome.out


def test_mistakes_with_servers_are_told(
    call: Call, polite: Any, quick: tuple[str, ...], in_tmp_path: Path
) -> None:
    options = (*(each for each in quick if not each.startswith("model.id=")), *FAST)
    outcome = call("evaluate", polite.url, *options)
    assert (outcome.code, "--model-name" in outcome.err) == (UsageError.exit_code, True)
    outcome = call("tune", "--model", polite.url, "--model-name", "other", *options)
    assert (outcome.code, "no local weights" in outcome.err) == (UsageError.exit_code, True)
    for url in ("http://a..b/v1", f"http://{'a' * 70}.invalid/v1", "http://ex\u202eample/v1"):
        for command in (("prompt", "--input", "hi", "--model", url), ("evaluate", url, *options)):
            outcome = call(*command)
            assert (outcome.code, "at: model.id" in outcome.err) == (UsageError.exit_code, True)
    outcome = call("evaluate", "http://127.0.0.1:9/v1", "--model-name", "x", *options)
    assert outcome.code == ResourceError.exit_code
    assert "at: http://127.0.0.1:9/v1/models" in outcome.err
    assert "Traceback" not in outcome.err
