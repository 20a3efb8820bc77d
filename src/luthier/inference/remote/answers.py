"""What a server's answers must look like: nothing else is believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from luthier.core.errors import DataError
from luthier.inference.remote.http import printable

_Form = TypeVar("_Form", bound="Answer")
_Count = Annotated[int, Field(ge=0, lt=2**40, strict=True)]
# Some servers write the lowest number of float32 where a token is impossible.
_Nats = Annotated[float, Field(ge=-3.5e38, le=0, strict=True)]
_Offset = Annotated[int, Field(strict=True)]
_TOKEN_CHARACTERS = 256
"""More than the longest tokens that are known have: 128 spaces."""
_BEYOND = 16
"""Tokens that a server may count beyond the limit: it may generate several in one step."""
_EVENTS_PER_TOKEN, _BEYOND_EVENTS = 4, 256
"""Pieces that a streamed answer may have: bytes of a character may come apart, and some events tell
no token."""
_TEMPLATE_TOKENS = 2**17
"""Tokens of a prompt that a server may add to what is sent."""
_TOKENS_PER_BYTE = 4


class Answer(BaseModel):
    """A part of an answer. What else it has is not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Counts(Answer):
    """Tokens as the server counts them; 0 where it does not."""

    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0


class Listed(Answer):
    """A model that the server has, and whatever it says of it."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(min_length=1, max_length=1000)

    @property
    def content(self) -> str:
        """All that tells it from another one: vLLM says another time and permission each time."""
        return self.model_dump_json(exclude={"created", "permission"})


class Models(Answer):
    """The answer of ``/models``."""

    data: tuple[Listed, ...]


class ChatMessage(Answer):
    """What the assistant says; nothing where it only thought, or called a tool."""

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
    """A piece of an answer: of a turn (``delta``), or of a text that is continued."""

    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None

    @property
    def said(self) -> str:
        """The text of the piece."""
        return (self.delta.content if self.delta else self.text) or ""


class Event(Answer):
    """An event of an answer that is streamed. The last one may have counts only."""

    choices: tuple[Piece, ...] = Field(max_length=1)
    usage: Counts | None = None


class Logprobs(Answer):
    """Of each token, in nats: its own, and the likeliest ones in its place.

    The first token of a text has none. ``text_offset`` says at which character each begins.
    """

    tokens: tuple[str, ...]
    token_logprobs: tuple[_Nats | None, ...]
    top_logprobs: tuple[dict[str, _Nats] | None, ...]
    text_offset: tuple[_Offset, ...]


class TextChoice(Answer):
    """A text that was continued."""

    text: str
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Completion(Answer):
    """The answer of ``/completions``."""

    choices: tuple[TextChoice, ...] = Field(min_length=1, max_length=1)
    usage: Counts | None = None


def parse(form: type[_Form], value: Any, where: str) -> _Form:
    """The answer in its form.

    Raises:
        DataError: it has another one.
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
    """Refuse an answer, or a count of its tokens, that cannot be one to what was asked.

    Args:
        text: that was generated; "" where it was not asked for.
        usage: tokens as the server counts them.
        asked: the body of the request.
        where: the address, for error messages.

    Raises:
        DataError: it is longer than ``max_tokens`` allows, or a count is not possible.
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
    """Refuse an answer in more pieces than one to what was asked can have.

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
    """Why an answer ended, in the words of `Generation`."""
    return "length" if reason == "length" else "stop"
