"""Requests that are repeated, paced, and made at the same time."""

from __future__ import annotations

import io
import itertools
import threading
import time
from typing import Any

import pytest

from luthier.config.endpoint import EndpointConfig
from luthier.core.console import Console
from luthier.core.errors import DataError, ResourceError
from luthier.inference.engine import ignore_progress
from luthier.inference.remote.http import Transport
from luthier.inference.remote.retries import Client

QUICK = {"backoff": 0.01, "timeout": 2.0, "retries": 3}


def client_of(server: Any, shown: io.StringIO | None = None, **settings: Any) -> Client:
    config = EndpointConfig.model_validate({**QUICK, **settings})
    console = Console(shown or io.StringIO())
    return Client(Transport(server.url, timeout=config.timeout), config, console)


def failing(server: Any, times: int, status: int = 503, **headers: str) -> None:
    """Let the server fail so often, and answer then."""

    attempts = itertools.count(1)

    def rule(_path: str, _body: Any) -> Any:
        if (attempt := next(attempts)) <= times:
            raise server.reply(status, **headers)
        return {"attempts": attempt}

    server.rule = rule


def test_a_failure_that_passes_is_waited_out(loopback: Any) -> None:
    shown = io.StringIO()
    failing(loopback, 3)
    assert client_of(loopback, shown).ask("/completions", {"prompt": ""}) == {"attempts": 4}
    assert shown.getvalue().count("warning: ") == 1
    assert f"{loopback.url}/completions: the server answers 503; trying again" in shown.getvalue()


def test_connections_that_are_closed_are_tried_again(loopback: Any) -> None:
    failing(loopback, 2, status=0)
    assert client_of(loopback).ask("/completions", {"prompt": ""}) == {"attempts": 3}


def test_a_failure_that_stays_is_given_up(loopback: Any) -> None:
    failing(loopback, 100, status=500)
    with pytest.raises(ResourceError, match=r"answers 500 \(tried 4 times\)") as caught:
        client_of(loopback).ask("/completions", {"prompt": ""})
    assert caught.value.where == loopback.url + "/completions"
    assert "the same command goes on" in " ".join(caught.value.fix.split())
    assert len(loopback.seen) == 4


def test_a_server_that_is_not_there_is_told_at_once(loopback: Any) -> None:
    client = client_of(loopback, backoff=30.0)
    loopback.shutdown()
    loopback.server_close()
    started = time.monotonic()
    with pytest.raises(ResourceError, match="the connection failed"):
        client.ask("/models")
    assert time.monotonic() - started < 15  # half of the first wait


def test_what_is_wrong_with_the_request_is_not_repeated(loopback: Any) -> None:
    failing(loopback, 100, status=400)
    with pytest.raises(DataError):
        client_of(loopback).ask("/completions", {})
    assert len(loopback.seen) == 1


def test_retry_after_is_heard_by_all(loopback: Any) -> None:
    failing(loopback, 1, status=429, Retry_After="1")
    started = time.monotonic()
    client = client_of(loopback, concurrency=4)
    client.ask_all(lambda _item: client.ask("/completions", {"a": 1}), [1, 2, 3], ignore_progress)
    assert time.monotonic() - started >= 1
    assert len(loopback.seen) == 4


def test_a_wait_that_is_too_long_is_not_waited(loopback: Any) -> None:
    failing(loopback, 1, status=429, Retry_After="3600")
    with pytest.raises(ResourceError, match="asks to wait 1h 00m"):
        client_of(loopback).ask("/completions", {"a": 1})


def test_waits_grow_and_differ(loopback: Any) -> None:
    from luthier.inference.remote.http import TransientError

    client, error = client_of(loopback, backoff=1.0), TransientError("busy")
    for attempt, longest in ((0, 1), (3, 8), (9, 60)):
        waits = {client._wait(error, attempt) for _ in range(20)}
        assert len(waits) > 1
        assert longest / 2 <= min(waits) <= max(waits) <= longest


def test_requests_are_made_at_the_same_time_in_order(loopback: Any) -> None:
    together = threading.Barrier(4, timeout=5)  # passes when four are there at once

    def rule(_path: str, body: Any) -> Any:
        together.wait()
        return body["item"] * 2

    loopback.rule = rule
    client, done = client_of(loopback, concurrency=4), []
    items = list(range(1, 9))
    found = client.ask_all(lambda n: client.ask("/x", {"item": n}), items, done.append)
    assert found == [2 * item for item in items]
    assert sum(done) == 8


def test_a_rate_is_kept(loopback: Any) -> None:
    loopback.rule = lambda _path, _body: {}
    client = client_of(loopback, requests_per_minute=1200, concurrency=8)
    started = time.monotonic()
    client.ask_all(lambda n: client.ask("/x", {"n": n}), range(11), ignore_progress)
    assert time.monotonic() - started >= 0.5  # ten gaps of a twentieth of a second


def test_after_a_failure_nothing_new_begins(loopback: Any) -> None:
    def rule(_path: str, body: Any) -> Any:
        if body["n"] == 3:
            raise loopback.reply(400)
        return {}

    loopback.rule = rule
    client, done = client_of(loopback, concurrency=1), []
    with pytest.raises(DataError):
        client.ask_all(lambda n: client.ask("/x", {"n": n}), range(100), done.append)
    assert (len(loopback.seen), sum(done)) == (4, 3)


def test_an_interruption_waits_for_nothing(loopback: Any) -> None:
    def rule(_path: str, body: Any) -> Any:
        if body["n"]:
            time.sleep(20)
        return {}

    def interrupted(_done: int) -> None:
        raise KeyboardInterrupt

    loopback.rule = rule
    client, started = client_of(loopback, concurrency=2), time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        client.ask_all(lambda n: client.ask("/x", {"n": n}), range(9), interrupted)
    assert time.monotonic() - started < 15
