"""The inference engine for a model on a server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial, singledispatch
from typing import Any, NamedTuple, TypeVar

from luthier.config.decoding import Decoding, Greedy, Sampling, Strategy
from luthier.core.errors import DataError, ResourceError, UsageError
from luthier.core.seeds import fingerprint
from luthier.inference.engine import (
    Engine,
    Generation,
    ProgressCallback,
    Score,
    ScoreRequest,
    TextLoss,
    Usage,
    before_stop,
    ignore_progress,
)
from luthier.inference.remote import scores
from luthier.inference.remote.answers import (
    Chat,
    Completion,
    Counts,
    Event,
    finish_of,
    parse,
    require_few,
    require_within,
)
from luthier.inference.remote.log import AnswerLog
from luthier.inference.remote.retries import Client
from luthier.inference.streaming import TextStream
from luthier.prompts.prompt import Content, Conversation
from luthier.records.result_cache import ResultCache

# Texts that test a server's scores: its certainty differs after each of these words.
_PROBE, _PROBE_WORDS = "One two three", (" four", " and", " of")
_Result = TypeVar("_Result", Generation, Score, TextLoss)


class EndpointEngine(Engine):
    """Generates at ``/chat/completions`` and ``/completions``, and scores if the server can.

    Conversations are sent as messages, and text as text. Each answer is cached as it comes. Its key
    is the whole request and the server's description of the model, so that no answer is requested
    or paid for twice.

    Args:
        client: the client of the server.
        model: the server's name for the model.
        identity: a fingerprint of the server and the model, as far as they are known.
        log: the answer cache; None: answers are not stored.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        identity: str,
        log: ResultCache | None = None,
    ) -> None:
        self._client, self._model, self._identity = client, model, identity
        self._gives_scores = False
        self._answers = AnswerLog(log)

    @property
    def usage(self) -> Usage:
        """See `Engine.usage`. Seconds are divided by the number of concurrent requests."""
        usage = self._answers.usage
        return usage._replace(seconds=usage.seconds / self._client.concurrency)

    def generate(
        self,
        prompts: Sequence[Content],
        decoding: Decoding,
        advance: ProgressCallback = ignore_progress,
    ) -> list[Generation]:
        """See `Engine.generate`. Answers have no token ids; only their number is known.

        Raises:
            LuthierError: the server refuses, fails, or is out of reach.
        """
        ask = partial(self._generation, _settings(decoding))
        answers = self._client.ask_all(ask, prompts, advance)
        return [_until(answer, decoding.stop) for answer in answers]

    def stream(
        self, prompt: Content, decoding: Decoding, tell: Callable[[str], object]
    ) -> Generation:
        """See `Engine.stream`. A streamed answer is not cached.

        With an API key the text comes whole: a server that repeats the key could split it between
        two pieces, in neither of which it would be recognised.

        Raises:
            LuthierError: as `generate`, or the server does not stream.
        """
        if self._client.has_key:
            return super().stream(prompt, decoding, tell)
        question = _question(prompt)
        body = {"model": self._model, **question.body, **_settings(decoding), "stream": True}
        where = self._client.url + question.path
        text, finish, told = "", None, TextStream(tell, decoding.stop)
        for number, value in enumerate(self._client.events(question.path, body)):
            event = parse(Event, value, where)
            require_few(number, body, where)
            self._answers.count(event.usage)
            for piece in event.choices:
                text += piece.said
                finish = piece.finish_reason or finish
                told.update(text)
            require_within(text, event.usage, body, where)
        if finish is None:
            raise ResourceError(
                "the answer ended before it was whole",
                where=where,
                fix="ask again, or look at the server's log",
            )
        answer = _until(Generation((), text.strip(), finish_of(finish)), decoding.stop)
        told.finish(answer.text)
        return answer

    def score(
        self,
        requests: Sequence[ScoreRequest[Content]],
        advance: ProgressCallback = ignore_progress,
    ) -> list[Score]:
        """See `Engine.score`.

        Raises:
            UsageError: a context is a conversation, because no server scores its answers.
            UsageError: the server returns no log-probabilities of prompts, or wrong ones.
            LuthierError: the server refuses, fails, or is out of reach.
        """
        pairs = [(_text(request.context), _text(request.continuation)) for request in requests]
        self.require_scores()
        return self._client.ask_all(self._score, pairs, advance)

    def losses(
        self, texts: Sequence[Content], advance: ProgressCallback = ignore_progress
    ) -> list[TextLoss]:
        """See `Engine.losses`; raises as `score`."""
        asked = [_text(text) for text in texts]
        self.require_scores()
        return self._client.ask_all(self._loss, asked, advance)

    def _generation(self, settings: Mapping[str, Any], content: Content) -> Generation:
        question = _question(content)
        body = {"model": self._model, **question.body, **settings}
        return self._ask(Generation, question.path, body, partial(question.read, body))

    def _score(self, pair: tuple[str, str]) -> Score:
        context, continuation = pair
        body = self._echo(context + continuation)

        def read(answer: Any, where: str) -> tuple[Score, Counts | None]:
            found, usage = _echoed(body, answer, where)
            return scores.score(found, len(context), where), usage

        return self._ask(Score, "/completions", body, read, str(len(context)))

    def _loss(self, text: str) -> TextLoss:
        body = self._echo(text)

        def read(answer: Any, where: str) -> tuple[TextLoss, Counts | None]:
            found, usage = _echoed(body, answer, where)
            return scores.loss(found), usage

        return self._ask(TextLoss, "/completions", body, read)

    def _echo(self, text: str) -> dict[str, Any]:
        """The request body for a text's log-probabilities; servers generate at least one token."""
        asked = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
        return {"model": self._model, "prompt": text, **asked}

    def require_scores(self) -> None:
        """Test once that the server returns log-probabilities, each for its own position.

        Some servers ignore the request for them. llama-cpp-python 0.3 shifts them by one position.
        The test uses that the highest probability after a text does not depend on the word that
        follows the text.

        Raises:
            UsageError: it does not.
            ResourceError: it cannot be reached.
        """
        if self._gives_scores:
            return
        where = self._client.url + "/completions"
        try:
            scores.require_same([self._likeliest_after_probe(word) for word in _PROBE_WORDS], where)
        except (UsageError, DataError) as error:
            raise UsageError(
                f"the server cannot score texts: {error.problem}",
                where=self._client.url,
                fix="use a server with echo and logprobs at /completions, such as vLLM, a task "
                "whose answers are generated, or the model on this machine",
            ) from error
        self._gives_scores = True

    def _likeliest_after_probe(self, word: str) -> TextLoss:
        """The loss of the likeliest token in the place of a word after the probe."""
        body = self._echo(_PROBE + word)

        def read(answer: Any, where: str) -> tuple[TextLoss, Counts | None]:
            found, usage = _echoed(body, answer, where)
            return scores.likeliest(found, len(_PROBE)), usage

        return self._ask(TextLoss, "/completions", body, read, "likeliest")

    def _ask(
        self,
        kind: type[_Result],
        path: str,
        body: Mapping[str, Any],
        read: Callable[[Any, str], tuple[_Result, Counts | None]],
        *more: str,
    ) -> _Result:
        """The answer to a request, cached or new; ``more`` are further parts of its key."""
        sent = json.dumps(body, sort_keys=True)
        key = fingerprint(self._identity, kind.__name__, path, sent, *more)
        where = self._client.url + path
        return self._answers.get(key, kind, lambda: read(self._client.ask(path, body), where))


class _Question(NamedTuple):
    """A prompt as a request.

    Attributes:
        path: the path of the request.
        body: the part of the request body that holds the prompt.
        read: reads the answer.
    """

    path: str
    body: dict[str, Any]
    read: Callable[[Mapping[str, Any], Any, str], tuple[Generation, Counts | None]]


@singledispatch
def _question(content: Content) -> _Question:
    """A prompt as a request.

    Raises:
        UsageError: the prompt is token ids.
    """
    raise UsageError(
        "a server has its own tokenizer, and takes no token ids",
        fix="give it text, or a conversation",
    )


@_question.register
def _(content: str) -> _Question:
    return _Question("/completions", {"prompt": content}, _continued)


@_question.register
def _(content: Conversation) -> _Question:
    turns = [{"role": turn.role, "content": turn.content} for turn in content.messages]
    return _Question("/chat/completions", {"messages": turns}, _said)


def _text(content: Content) -> str:
    """A text to be scored.

    Raises:
        UsageError: the content is a conversation or token ids.
    """
    if isinstance(content, str):
        return content
    raise UsageError(
        "a server scores plain text only",
        fix="choose a task whose answers are generated, leave --chat-template out, or run the "
        "model on this machine",
    )


def _settings(decoding: Decoding) -> dict[str, Any]:
    """Decoding settings as parameters of a request."""
    settings = {"max_tokens": decoding.max_new_tokens, **parameters(decoding.strategy)}
    return {**settings, "stop": list(decoding.stop)} if decoding.stop else settings


@singledispatch
def parameters(strategy: Strategy) -> dict[str, Any]:
    """A decoding strategy as parameters of a request.

    Parameters that only some servers know are sent only if they differ from their defaults.

    Raises:
        UsageError: servers do not support the strategy.
    """
    raise UsageError(
        f"a server does not generate with the strategy {strategy.strategy}",
        where="evaluate.decoding.strategy",
        fix="choose greedy or sampling, or run the model on this machine",
    )


@parameters.register
def _(strategy: Greedy) -> dict[str, Any]:
    del strategy
    return {"temperature": 0}


@parameters.register
def _(strategy: Sampling) -> dict[str, Any]:
    values = strategy.model_dump(exclude={"strategy"}, exclude_defaults=True)
    return {"temperature": strategy.temperature, "seed": strategy.seed, **values}


def _until(answer: Generation, stops: Sequence[str]) -> Generation:
    """An answer cut at a stop string, in case the server did not cut it there.

    Some servers ignore stop strings, or miss those that are special tokens.
    """
    before = before_stop(answer.text, stops)
    return answer if before is None else Generation(answer.ids, before.strip(), "stop")


def _continued(
    asked: Mapping[str, Any], answer: Any, where: str
) -> tuple[Generation, Counts | None]:
    completion = parse(Completion, answer, where)
    first = completion.choices[0]
    require_within(first.text, completion.usage, asked, where)
    generation = Generation((), first.text.strip(), finish_of(first.finish_reason))
    return generation, completion.usage


def _said(asked: Mapping[str, Any], answer: Any, where: str) -> tuple[Generation, Counts | None]:
    chat = parse(Chat, answer, where)
    first = chat.choices[0]
    text = (first.message.content or "").strip()
    require_within(text, chat.usage, asked, where)
    return Generation((), text, finish_of(first.finish_reason)), chat.usage


def _echoed(
    asked: Mapping[str, Any], answer: Any, where: str
) -> tuple[list[scores.Piece], Counts | None]:
    """The tokens of a prompt that the server repeated.

    Raises:
        DataError: it did not repeat them.
    """
    completion = parse(Completion, answer, where)
    logprobs = completion.choices[0].logprobs
    if logprobs is None:
        raise DataError("the answer holds no log-probabilities", where=where)
    require_within("", completion.usage, asked, where)
    return scores.pieces(asked["prompt"], logprobs, where), completion.usage
