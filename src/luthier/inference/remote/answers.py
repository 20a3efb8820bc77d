"""Schemas and limits of a server's answers; all other answers are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from luthier.core.errors import DataError
from luthier.inference.remote.http import printable

_Form = TypeVar("_Form", bound="Answer")
_Count = Annotated[int, Field(ge=0, lt=2**40, strict=True)]
# Some servers send the lowest float32 number for an impossible token.
_Nats = Annotated[float, Field(ge=-3.5e38, le=0, strict=True)]
_Offset = Annotated[int, Field(strict=True)]
_TOKEN_CHARACTERS = 256
"""Limit of a token's length; the longest known tokens have 128 spaces."""
_BEYOND = 16
"""Tokens that a server may count beyond the limit, because it may generate several in one step."""
_EVENTS_PER_TOKEN, _BEYOND_EVENTS = 4, 256
"""Limits of a streamed answer's pieces: the bytes of a character may come separately, and some
events carry no token."""
_TEMPLATE_TOKENS = 2**17
"""Tokens that a server's chat template may add to a prompt."""
_TOKENS_PER_BYTE = 4


class Answer(BaseModel):
    """A part of an answer; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Counts(Answer):
    """The server's token counts; 0 if it does not count."""

    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0


class Listed(Answer):
    """A model that the server lists, with all of its description."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(min_length=1, max_length=1000)

    @property
    def content(self) -> str:
        """The stable part of the description: vLLM changes time and permission on each call."""
        return self.model_dump_json(exclude={"created", "permission"})


class Models(Answer):
    """The answer of ``/models``."""

    data: tuple[Listed, ...]


class ChatMessage(Answer):
    """The assistant's message; its content is None if it has only reasoning or a tool call."""

    content: str | None = None


class ChatChoice(Answer):
    """An answer to a conversation."""

    message: ChatMessage
    finish_reason: str | None = None


class Chat(Answer):
    """The answer of ``/chat/completions``."""

    choices: tuple[ChatChoice, ...] = Field(min_length=1, max_length=1)
    usage: Counts | None = None


class Delta(Answer):
    """A piece of the assistant's turn."""

    content: str | None = None


class Piece(Answer):
    """A piece of an answer: of a turn (``delta``) or of a text continuation (``text``)."""

    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None

    @property
    def said(self) -> str:
        """The text of the piece."""
        return (self.delta.content if self.delta else self.text) or ""


class Event(Answer):
    """An event of a streamed answer. The last event may have only counts."""

    choices: tuple[Piece, ...] = Field(max_length=1)
    usage: Counts | None = None


class Logprobs(Answer):
    """Log-probabilities in nats, of each token and of the likeliest tokens in its place.

    The first token of a text has none. ``text_offset`` holds each token's first character.
    """

    tokens: tuple[str, ...]
    token_logprobs: tuple[_Nats | None, ...]
    top_logprobs: tuple[dict[str, _Nats] | None, ...]
    text_offset: tuple[_Offset, ...]


class TextChoice(Answer):
    """A continuation of a text."""

    text: str
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Completion(Answer):
    """The answer of ``/completions``."""

    choices: tuple[TextChoice, ...] = Field(min_length=1, max_length=1)
    usage: Counts | None = None


def parse(form: type[_Form], value: Any, where: str) -> _Form:
    """An answer validated against its schema.

    Raises:
        DataError: the answer does not match the schema.
    """
    try:
        return form.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the answer"
        raise DataError(
            f"this is no answer of an OpenAI-compatible server: {printable(place)}: "
            f"{printable(first['msg'])}",
            where=where,
            fix="check that the URL is that of such a server; most end in /v1",
        ) from None


def require_within(text: str, usage: Counts | None, asked: Mapping[str, Any], where: str) -> None:
    """Refuse an answer or a token count that is impossible for the request.

    Args:
        text: the generated text; "" if none was requested.
        usage: the server's token counts.
        asked: the body of the request.
        where: the address, for error messages.

    Raises:
        DataError: the answer is longer than ``max_tokens`` allows, or a count is impossible.
    """
    limit = asked["max_tokens"]
    usage = usage or Counts()
    longest = _TEMPLATE_TOKENS + _TOKENS_PER_BYTE * len(json.dumps(asked))
    if len(text) > limit * _TOKEN_CHARACTERS:
        problem = f"the answer has {len(text):,} characters"
    elif usage.completion_tokens > limit + _BEYOND:
        problem = f"the server counts {usage.completion_tokens:,} tokens of an answer"
    elif usage.prompt_tokens > longest:
        raise DataError(
            f"the server counts {usage.prompt_tokens:,} tokens of a prompt that cannot have more "
            f"than {longest:,}",
            where=where,
            fix="use a server that counts as the model does",
        )
    else:
        return
    raise DataError(
        f"{problem}, though it was asked for {limit:,} tokens at most (max_tokens)",
        where=where,
        fix="use a server that keeps max_tokens, or set evaluate.max_new_tokens to its own limit",
    )


def require_few(events: int, asked: Mapping[str, Any], where: str) -> None:
    """Refuse a streamed answer with more pieces than the request allows.

    Raises:
        DataError: there are more.
    """
    most = _BEYOND_EVENTS + _EVENTS_PER_TOKEN * asked["max_tokens"]
    if events > most:
        raise DataError(
            f"the answer comes in more than {most:,} pieces, though it was asked for "
            f"{asked['max_tokens']:,} tokens at most (max_tokens)",
            where=where,
            fix="use a server that keeps max_tokens",
        )


def finish_of(reason: str | None) -> Literal["stop", "length"]:
    """The finish reason as a value of `Generation.finish`."""
    return "length" if reason == "length" else "stop"
