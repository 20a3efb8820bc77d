"""A server whose answers `fuzz.py` spoils: the bytes on the wire, or the JSON in them."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fuzz import Target
from luthier.config import Decoding, ModelConfig
from luthier.config.endpoint import EndpointConfig
from luthier.core.console import Console
from luthier.core.example import Message
from luthier.inference.remote import EndpointEngine
from luthier.inference.remote.engine import _echoed
from luthier.inference.remote.http import Transport
from luthier.inference.remote.model import open_endpoint
from luthier.inference.remote.retries import Client
from luthier.prompts.prompt import Content, Conversation

sys.path.append(str(Path(__file__).parent.parent))
from tests.hostile_server import HostileServer, response

_TEXT = "Why?"
_TALK = Conversation((Message("user", _TEXT),))
_SETTINGS = EndpointConfig(retries=0, timeout=1.0)
_QUIET = Console(quiet=True)
_USAGE = {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}
_CHAT = {"choices": [{"message": {"content": "odd"}, "finish_reason": "stop"}], **_USAGE}
_EVENTS = [
    {"choices": [{"delta": {"content": "odd"}, "finish_reason": None}]},
    {"choices": [{"delta": {}, "finish_reason": "stop"}], **_USAGE},
]
_STREAM = (
    "".join(f"data: {json.dumps(event)}\n\n" for event in _EVENTS).encode() + b"data: [DONE]\n"
)
_COMPLETION = {"choices": [{"text": "odd", "finish_reason": "length"}], **_USAGE}
_MODELS = {"data": [{"id": "m", "object": "model", "max_model_len": 64, "owned_by": "me"}]}
_ECHO = {
    "choices": [
        {
            "text": "ab cd!",
            "finish_reason": "length",
            "logprobs": {
                "tokens": ["ab", " c", "d", "!"],
                "text_offset": [0, 2, 4, 5],
                "token_logprobs": [None, -1.0, -2.0, -9.0],
                "top_logprobs": [None, {" c": -1.0}, {"d": -2.0}, {"!": -9.0}],
            },
        }
    ],
    **_USAGE,
}


def server_targets() -> list[Target]:
    """What a server says, as JSON in good form and as bytes of HTTP."""
    server = _Server()
    answers: dict[str, tuple[object, Callable[[], object]]] = {
        "chat": (_CHAT, partial(_generate, server.url, _TALK)),
        "completion": (_COMPLETION, partial(_generate, server.url, _TEXT)),
        "echo": (_ECHO, partial(_score, server.url)),
        "models": (_MODELS, partial(_list, server.url)),
    }
    targets = [
        server.target(name, form, json.dumps(answer).encode(), ask)
        for name, (answer, ask) in answers.items()
        for form in (response, bytes)
    ]
    streamed = partial(response, kind="text/event-stream")
    return [*targets, server.target("stream", streamed, _STREAM, partial(_stream, server.url))]


class _Server:
    """Sends what is in ``content``, whatever is asked."""

    def __init__(self) -> None:
        self.content = b""
        self.url = HostileServer(self._send).url

    def _send(self, connection: socket.socket) -> None:
        connection.sendall(self.content)

    def target(
        self, name: str, form: Callable[[bytes], bytes], body: bytes, ask: Callable[[], object]
    ) -> Target:
        """A file that is sent as the answer: its body, or all of it where ``form`` is `bytes`."""

        def read(folder: Path) -> object:
            self.content = form((folder / name).read_bytes())
            return ask()

        return Target(read, {name: response(body) if form is bytes else body})


def _generate(url: str, asked: Content) -> object:
    client = Client(Transport(url, timeout=_SETTINGS.timeout), _SETTINGS, _QUIET)
    engine = EndpointEngine(client, "m", "identity")
    return engine.generate([asked], Decoding(max_new_tokens=4))


def _stream(url: str) -> object:
    client = Client(Transport(url, timeout=_SETTINGS.timeout), _SETTINGS, _QUIET)
    engine = EndpointEngine(client, "m", "identity")
    return engine.stream(_TALK, Decoding(max_new_tokens=4), str)


def _score(url: str) -> object:
    client = Client(Transport(url, timeout=_SETTINGS.timeout), _SETTINGS, _QUIET)
    body = {"prompt": "ab cd", "max_tokens": 1}
    return _echoed(body, client.ask("/completions", body), url)


def _list(url: str) -> object:
    return open_endpoint(ModelConfig(id=url, endpoint=_SETTINGS), _QUIET)
