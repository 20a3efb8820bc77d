"""Whatever a server does, a request ends in time, with an error that says what is wrong."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest
from tests.hostile_server import (
    BEHAVIOURS,
    HostileServer,
    chat,
    dripping,
    flooding,
    head,
    response,
    sending,
)

from luthier.config import Decoding
from luthier.config.endpoint import EndpointConfig
from luthier.core.console import Console
from luthier.core.errors import LuthierError
from luthier.core.example import Message
from luthier.inference.remote import EndpointEngine
from luthier.inference.remote.http import TransientError, Transport
from luthier.inference.remote.retries import Client
from luthier.prompts.prompt import Conversation

TIMEOUT = 1.0
# A busy machine may be late; a server that is waited for by byte would take a minute.
PATIENCE = 10.0
ASKED = Conversation((Message("user", "Why?"),))


def engine_of(server: HostileServer, **settings: Any) -> EndpointEngine:
    """The engine of a server that lists no models."""
    given = {"retries": 0, "backoff": 0.01, "timeout": TIMEOUT}
    config = EndpointConfig.model_validate({**given, **settings})
    transport = Transport(server.url, timeout=config.timeout)
    client = Client(transport, config, Console(quiet=True))
    return EndpointEngine(client, "m", "identity")


def ask(server: HostileServer, max_tokens: int = 4, **settings: Any) -> str:
    """One answer."""
    decoding = Decoding(max_new_tokens=max_tokens)
    (answer,) = engine_of(server, **settings).generate([ASKED], decoding)
    return answer.text


def stream(server: HostileServer, max_tokens: int = 4, **settings: Any) -> str:
    """The pieces of one answer."""
    pieces: list[str] = []
    decoding = Decoding(max_new_tokens=max_tokens)
    engine_of(server, **settings).stream(ASKED, decoding, pieces.append)
    return "|".join(pieces)


def events(*lines: str) -> bytes:
    """A whole answer with these lines."""
    return head("Content-Type: text/event-stream") + "".join(f"{x}\n\n" for x in lines).encode()


def said(text: str, finish: str | None = None) -> str:
    """An event with a piece of an answer."""
    return "data: " + json.dumps(
        {"choices": [{"delta": {"content": text}, "finish_reason": finish}]}
    )


def test_the_well_behaved_server_is_understood() -> None:
    with HostileServer(sending(response(chat("fine", usage={"completion_tokens": 4})))) as server:
        assert ask(server) == "fine"


@pytest.mark.sample(24)
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_each_ends_in_time_with_what_is_wrong(name: str) -> None:
    behaviour = BEHAVIOURS[name]
    with HostileServer(behaviour.behave) as server:
        started = time.monotonic()
        with pytest.raises(LuthierError) as caught:
            ask(server)
        assert time.monotonic() - started < PATIENCE
        assert server.requests == 1
        error = caught.value
        assert error.where.startswith(server.url)
    assert error.exit_code == behaviour.code, error
    assert behaviour.says in str(error)
    assert len(str(error)) < 2000
    assert str(error).replace("\n", "").isprintable()


@pytest.mark.sample(16)
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_each_ends_a_stream_in_time(name: str) -> None:
    with HostileServer(BEHAVIOURS[name].behave) as server:
        started = time.monotonic()
        with pytest.raises(LuthierError) as caught:
            stream(server)
        assert time.monotonic() - started < PATIENCE
        assert server.requests == 1
        assert caught.value.where.startswith(server.url)
    assert len(str(caught.value)) < 2000
    assert str(caught.value).replace("\n", "").isprintable()


def test_a_stream_is_read_piece_by_piece() -> None:
    content = events(": hello", "event: x", said("Be"), said("cause "), said("so", "stop"))
    with HostileServer(sending(content + b"data: [DONE]\n\ndata: {")) as server:
        assert stream(server) == "Be|cause| so"


EVENT_HEAD = head("Content-Type: text/event-stream")
HOSTILE_STREAMS = {
    "no end": (sending(events(said("Be"))), "ended before it was whole"),
    "no JSON": (sending(events("data: {{{")), "no JSON"),
    "another form": (sending(events('data: {"choices": 3}')), "no answer of an OpenAI-compatible"),
    "two answers": (
        sending(events('data: {"choices": [{"text": "a"}, {"text": "b"}]}')),
        "no answer of an OpenAI-compatible",
    ),
    "too long": (sending(events(said("a" * 9000, "stop"))), "characters"),
    "too many": (flooding(EVENT_HEAD, f"{said('')}\n\n".encode()), "more than 272 pieces"),
    "one line": (flooding(EVENT_HEAD, b"data: aaaaaaaaaaaaaaaa" * 4096), "larger than"),
    "comments": (flooding(EVENT_HEAD, b": nothing\n\n" * 4096), "larger than"),
    "drips": (dripping(EVENT_HEAD + b"data: "), "timed out"),
    "is not one": (sending(response(chat("fine"))), "does not stream its answer"),
}


@pytest.mark.parametrize("name", HOSTILE_STREAMS)
def test_a_hostile_stream_ends_in_time_with_what_is_wrong(name: str) -> None:
    behave, says = HOSTILE_STREAMS[name]
    with HostileServer(behave) as server:
        started = time.monotonic()
        with pytest.raises(LuthierError, match=says) as caught:
            stream(server)
        assert time.monotonic() - started < PATIENCE
        assert caught.value.where.startswith(server.url)


def test_attempts_are_bounded_and_counted() -> None:
    behaviour = BEHAVIOURS["status-drips"]
    with HostileServer(behaviour.behave) as server:
        started = time.monotonic()
        with pytest.raises(LuthierError, match=r"timed out after 0\.3 s .*\(tried 3 times\)"):
            ask(server, timeout=0.3, retries=2)
        assert time.monotonic() - started < PATIENCE
        assert server.requests == 3


def test_a_server_that_does_not_read_is_not_waited_for() -> None:
    with HostileServer(lambda _: time.sleep(PATIENCE), reads=False) as server:
        transport = Transport(server.url, timeout=TIMEOUT)
        started = time.monotonic()
        with pytest.raises(TransientError, match="timed out"):
            transport.exchange("/completions", {"prompt": "a" * 20_000_000})
        assert time.monotonic() - started < PATIENCE


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x03\x40\x00\x02"])
def test_the_handshake_of_tls_ends_at_the_deadline(sent: bytes) -> None:
    with HostileServer(dripping(sent, b"\0"), reads=False) as server:
        started = time.monotonic()
        with pytest.raises(TransientError):
            Transport(server.url.replace("http", "https"), timeout=TIMEOUT).exchange("/models")
        assert time.monotonic() - started < PATIENCE


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_drips_is_not_waited_for(scheme: str, monkeypatch: Any) -> None:
    with HostileServer(dripping(b"HTTP/1.1 200 ")) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url.removesuffix("/v1"))
        started = time.monotonic()
        with pytest.raises(TransientError, match="timed out"):
            Transport(f"{scheme}://there.invalid/v1", timeout=TIMEOUT).exchange("/models")
        assert time.monotonic() - started < PATIENCE
        assert proxy.requests == 1


def test_a_name_that_is_not_found_in_time_is_not_waited_for(monkeypatch: Any) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(60))
    started = time.monotonic()
    with pytest.raises(TransientError, match="timed out"):
        Transport("http://there.invalid/v1", timeout=TIMEOUT).exchange("/models")
    assert time.monotonic() - started < PATIENCE
