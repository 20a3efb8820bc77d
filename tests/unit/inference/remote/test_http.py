"""One exchange with a server that may do anything."""

from __future__ import annotations

import time
from typing import Any

import pytest

from luthier.core.errors import DataError, LuthierError, UsageError
from luthier.inference.remote.address import checked_url
from luthier.inference.remote.http import NotFoundError, TransientError, Transport


def answering(loopback: Any, status: int, content: bytes = b"", **headers: str) -> Transport:
    """A transport to a server that always gives the same."""

    def rule(_path: str, _body: Any) -> None:
        raise loopback.reply(status, content, **headers)

    loopback.rule = rule
    return Transport(loopback.url, "sk-secret", timeout=2)


def test_json_goes_out_and_comes_back(loopback: Any) -> None:
    loopback.rule = lambda path, body: {"path": path, "body": body}
    sent = Transport(loopback.url + "/", "sk-secret")
    assert sent.exchange("/completions", {"prompt": "é"}) == {
        "path": "/completions",
        "body": {"prompt": "é"},
    }
    assert sent.exchange("/models") == {"path": "/models", "body": None}
    assert loopback.seen[0][2]["Authorization"] == "Bearer sk-secret"
    assert Transport(loopback.url).exchange("/models")
    assert "Authorization" not in loopback.seen[2][2]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_told_apart(loopback: Any, status: int) -> None:
    sent = answering(loopback, status, b'{"error": {"message": "busy"}}', Retry_After="7")
    with pytest.raises(TransientError, match=f"{status}: busy") as caught:
        sent.exchange("/completions", {})
    assert caught.value.retry_after == 7


def test_a_date_says_how_long_to_wait(loopback: Any) -> None:
    from email.utils import formatdate

    sent = answering(loopback, 503, Retry_After=formatdate(time.time() + 30, usegmt=True))
    with pytest.raises(TransientError) as caught:
        sent.exchange("/completions", {})
    assert 25 < (caught.value.retry_after or 0) <= 30


@pytest.mark.parametrize(
    ("status", "kind", "fix"),
    [
        (401, UsageError, "api_key_env"),
        (403, UsageError, "api_key_env"),
        (404, NotFoundError, "/v1"),
        (400, DataError, "shorten"),
        (422, DataError, "shorten"),
    ],
)
def test_a_refusal_names_the_url_the_reason_and_what_to_do(
    loopback: Any, status: int, kind: type[LuthierError], fix: str
) -> None:
    sent = answering(loopback, status, b'{"error": {"message": "no, sk-secret is wrong"}}')
    with pytest.raises(kind, match=rf"{status}: no, \[API key\] is wrong") as caught:
        sent.exchange("/completions", {})
    assert caught.value.where == loopback.url + "/completions"
    assert fix in caught.value.fix
    assert "sk-secret" not in str(caught.value)


def test_a_redirect_is_not_followed(loopback: Any) -> None:
    sent = answering(loopback, 307, Location=loopback.url + "/elsewhere")
    with pytest.raises(UsageError, match="points to http://127"):
        sent.exchange("/completions", {})
    assert [path for path, _, _ in loopback.seen] == ["/completions"]


@pytest.mark.parametrize("content", [b"<html>welcome</html>", b"\xff\xfe", b"", b"[" * 100_000])
def test_what_is_no_json_is_refused(loopback: Any, content: bytes) -> None:
    with pytest.raises(DataError, match="no JSON") as caught:
        answering(loopback, 200, content).exchange("/models")
    assert caught.value.where == loopback.url + "/models"


def test_terminal_codes_of_a_server_are_not_shown(loopback: Any) -> None:
    with pytest.raises(DataError) as caught:
        answering(loopback, 400, b"\x1b[31mred\x1b[0m\n" + b"x" * 5000).exchange("/x", {})
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_an_answer_may_be_as_large_as_what_was_asked_for(loopback: Any) -> None:
    large = b'"' + b"x" * (3 * 2**20) + b'"'
    for path, body in (("/models", None), ("/completions", {"max_tokens": 2000})):
        assert len(answering(loopback, 200, large).exchange(path, body)) == 3 * 2**20
    with pytest.raises(DataError, match=r"body of the answer is larger than 1\.0 MiB"):
        answering(loopback, 200, large).exchange("/completions", {"max_tokens": 4})
    with pytest.raises(DataError, match=r"larger than 4\.0 MiB"):
        answering(loopback, 200, b" " * 5 * 2**20).exchange("/models")


def test_each_number_of_retry_after_is_believed_up_to_a_bound(loopback: Any) -> None:
    for said, wait in (("7", 7), ("9" * 400, 1e9), ("-5", None), ("soon", None), ("1e9", None)):
        with pytest.raises(TransientError) as caught:
            answering(loopback, 503, Retry_After=said).exchange("/x", {})
        assert caught.value.retry_after == wait


def test_a_connection_that_breaks_is_transient(loopback: Any) -> None:
    with pytest.raises(TransientError, match="the connection failed"):
        answering(loopback, 0).exchange("/models")
    with pytest.raises(TransientError, match="before the end"):
        answering(loopback, 200, b'{"a": 1', Content_Length="100").exchange("/models")
    loopback.server_close()
    with pytest.raises(TransientError, match="the connection failed"):
        Transport("http://127.0.0.1:9/v1", timeout=1).exchange("/models")


def test_silence_times_out(loopback: Any) -> None:
    loopback.rule = lambda _path, _body: time.sleep(1.5)
    with pytest.raises(TransientError, match="timed out"):
        Transport(loopback.url, timeout=0.3).exchange("/models")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "file:///etc/passwd",
        "http:///v1",
        "http://user:password@host/v1",
        "http://host/v1?key=abc",
        "http://host/v1#part",
        "http://host/v1 x",
        "http://host:port/v1",
        "http://[::1/v1",
        "http://[v1.x]/v1",
        "http://a..b/v1",
        "http://./v1",
        f"http://{'a' * 70}.invalid/v1",
        f"http://{'a.' * 200}/v1",
        f"http://host/{'a' * 5000}",
        "http://ex\u202eample.invalid/v1",
        "http://ex\u0430mple.invalid/v1",
        "http://host/\u00fc",
        "http://host/\x7f",
        "http://%00/v1",
        "http://a%b/v1",
        "http://a\\b/v1",
        "http://a\ud83d/v1",
    ],
)
def test_what_is_no_url_of_an_api_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked_url(url)
    assert caught.value.where == "model.id"
    assert "password@" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://[::1]:8000/v1",
        "http://[fe80::1%eth0]/v1",
        "http://model_server:8000/v1",
        "https://xn--bcher-kva.example./v1",
        "https://api.example.com/v1/%C3%BC/~a",
    ],
)
def test_urls_of_apis_are_taken(url: str) -> None:
    assert checked_url(f"{url}/") == url


def test_a_proxy_whose_name_can_be_none_is_a_failed_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://a..b:80")
    with pytest.raises(TransientError, match="the name of no host"):
        Transport("http://host.invalid/v1", timeout=5).exchange("/models")
