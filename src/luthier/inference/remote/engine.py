"""The engine that asks a server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial, singledispatch
from typing import Any, TypeVar

from luthier.config.decoding import Decoding, Greedy, Sampling, Strategy
from luthier.core.errors import DataError, UsageError
from luthier.core.seeds import fingerprint
from luthier.inference.engine import (
    Engine,
    Generation,
    ProgressCallback,
    Score,
    ScoreRequest,
    TextLoss,
    before_stop,
    ignore_progress,
)
from luthier.inference.remote import scores
from luthier.inference.remote.answers import (
    Chat,
    Completion,
    Usage,
    finish_of,
    parse,
    require_within,
)
from luthier.inference.remote.log import AnswerLog
from luthier.inference.remote.retries import Client
from luthier.prompts.characters import as_conversation, as_text
from luthier.records.result_cache import ResultCache

# What a server scores when it is tried out: after the first of them it is surer than after others.
_PROBE, _PROBE_WORDS = "One two three", (" four", " and", " of")
_Result = TypeVar("_Result", Generation, Score, TextLoss)


class EndpointEngine(Engine):
    """Generates at ``/chat/completions`` and ``/completions``, and scores where a server can.

    Its ids are those of `CharacterTokenizer`: roles make a conversation, and text without roles is
    continued. Answers are kept as they come, each by all that was sent and by the server's own
    description of the model, so that no answer is asked, or paid, for twice.

    Args:
        client: asks.
        model: what the server calls the model.
        identity: a fingerprint of the server and the model, as far as they are known.
        log: where answers are kept; None: nowhere.
        completions: text without roles is continued; if not, a user says it.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        identity: str,
        log: ResultCache | None = None,
        *,
        completions: bool = True,
    ) -> None:
        self._client, self._model, self._identity = client, model, identity
        self._completions = completions
        self._gives_scores = False
        self.answers = AnswerLog(log)
        """What was answered, and what it took."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        advance: ProgressCallback = ignore_progress,
    ) -> list[Generation]:
        """See `Engine.generate`. The tokens of an answer are not known, only how many they are.

        Raises:
            LuthierError: the server refuses, fails, or is out of reach.
        """
        settings = {"max_tokens": decoding.max_new_tokens, **parameters(decoding.strategy)}
        if decoding.stop:
            settings["stop"] = list(decoding.stop)
        answers = self._client.ask_all(partial(self._generation, settings), prompts, advance)
        return [_until(answer, decoding.stop) for answer in answers]

    def score(
        self, requests: Sequence[ScoreRequest], advance: ProgressCallback = ignore_progress
    ) -> list[Score]:
        """See `Engine.score`.

        Raises:
            UsageError: the server gives no log-probabilities of prompts, or wrong ones.
            LuthierError: it refuses, fails, or is out of reach.
        """
        self._require_scores()
        return self._client.ask_all(self._score, requests, advance)

    def losses(
        self, sequences: Sequence[Sequence[int]], advance: ProgressCallback = ignore_progress
    ) -> list[TextLoss]:
        """See `Engine.losses`; raises as `score`."""
        self._require_scores()
        return self._client.ask_all(self._loss, sequences, advance)

    def _generation(self, settings: Mapping[str, Any], ids: Sequence[int]) -> Generation:
        turns = [{"role": turn.role, "content": turn.content} for turn in as_conversation(ids)]
        if not turns and self._completions:
            body = {"model": self._model, "prompt": as_text(ids), **settings}
            return self._ask(Generation, "/completions", body, partial(_continued, body))
        turns = turns or [{"role": "user", "content": as_text(ids)}]
        body = {"model": self._model, "messages": turns, **settings}
        return self._ask(Generation, "/chat/completions", body, partial(_said, body))

    def _score(self, request: ScoreRequest) -> Score:
        context = as_text(request.context)
        body = self._echo(as_text(request.context + request.continuation))

        def read(answer: Any, where: str) -> tuple[Score, Usage | None]:
            found, usage = _echoed(body, answer, where)
            return scores.score(found, len(context), where), usage

        return self._ask(Score, "/completions", body, read, str(len(context)))

    def _loss(self, ids: Sequence[int]) -> TextLoss:
        body = self._echo(as_text(ids))

        def read(answer: Any, where: str) -> tuple[TextLoss, Usage | None]:
            found, usage = _echoed(body, answer, where)
            return scores.loss(found), usage

        return self._ask(TextLoss, "/completions", body, read)

    def _echo(self, text: str) -> dict[str, Any]:
        """The body that asks for the log-probabilities of a text; one more token is the least."""
        asked = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
        return {"model": self._model, "prompt": text, **asked}

    def _require_scores(self) -> None:
        """Try whether there are log-probabilities, and each of its own place.

        Some servers ignore the wish for them; llama-cpp-python 0.3 gives each token the probability
        that it would have one place later. But how likely the likeliest word is after a text does
        not depend on the word that stands there.
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
        """The loss of the token that is the likeliest in the place of a word."""
        body = self._echo(_PROBE + word)

        def read(answer: Any, where: str) -> tuple[TextLoss, Usage | None]:
            found, usage = _echoed(body, answer, where)
            return scores.likeliest(found, len(_PROBE)), usage

        return self._ask(TextLoss, "/completions", body, read, "likeliest")

    def _ask(
        self,
        kind: type[_Result],
        path: str,
        body: Mapping[str, Any],
        read: Callable[[Any, str], tuple[_Result, Usage | None]],
        *more: str,
    ) -> _Result:
        """The answer to a request, kept or new. ``more`` is what ``read`` depends on besides."""
        sent = json.dumps(body, sort_keys=True)
        key = fingerprint(self._identity, kind.__name__, path, sent, *more)
        where = self._client.url + path
        return self.answers.get(key, kind, lambda: read(self._client.ask(path, body), where))


@singledispatch
def parameters(strategy: Strategy) -> dict[str, Any]:
    """A strategy as parameters of a request. What only some servers know is sent where it is set.

    Raises:
        UsageError: no server knows the strategy.
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
    """An answer that ends at a stop string though the server did not end it there.

    Some servers ignore stop strings, or do not see those that are special tokens.
    """
    before = before_stop(answer.text, stops)
    return answer if before is None else Generation(answer.ids, before.strip(), "stop")


def _continued(
    asked: Mapping[str, Any], answer: Any, where: str
) -> tuple[Generation, Usage | None]:
    completion = parse(Completion, answer, where)
    first = completion.choices[0]
    require_within(first.text, completion.usage, asked, where)
    generation = Generation((), first.text.strip(), finish_of(first.finish_reason))
    return generation, completion.usage


def _said(asked: Mapping[str, Any], answer: Any, where: str) -> tuple[Generation, Usage | None]:
    chat = parse(Chat, answer, where)
    first = chat.choices[0]
    text = (first.message.content or "").strip()
    require_within(text, chat.usage, asked, where)
    return Generation((), text, finish_of(first.finish_reason)), chat.usage


def _echoed(
    asked: Mapping[str, Any], answer: Any, where: str
) -> tuple[list[scores.Piece], Usage | None]:
    """The tokens of a prompt that came back.

    Raises:
        DataError: they did not.
    """
    completion = parse(Completion, answer, where)
    logprobs = completion.choices[0].logprobs
    if logprobs is None:
        raise DataError("the answer holds no log-probabilities", where=where)
    require_within("", completion.usage, asked, where)
    return scores.pieces(asked["prompt"], logprobs, where), completion.usage
