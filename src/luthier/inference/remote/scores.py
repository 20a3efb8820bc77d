"""Log-probabilities of an echoed prompt (``echo`` with ``logprobs``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from luthier.core.errors import DataError
from luthier.inference.engine import Score, TextLoss
from luthier.inference.remote.answers import Logprobs

_SHOWN = 40
_UNPRINTABLE = "�"
# Nats: servers compute in bfloat16, whose numbers around 20 are 0.125 apart.
_ROUNDING = 0.25


class Piece(NamedTuple):
    """A token of a prompt.

    Attributes:
        start: its first character; below 0 for tokens without text.
        end: the character after its last one.
        logprob: its log-probability in nats; None if it was not predicted.
        best: the log-probability of the likeliest token in its place; None if it is not known.
    """

    start: int
    end: int
    logprob: float | None
    best: float | None

    @property
    def is_text(self) -> bool:
        """Whether the token has characters of the prompt."""
        return 0 <= self.start < self.end

    @property
    def greedy(self) -> bool:
        """Whether no other token is likelier."""
        if self.logprob is None or self.best is None:
            return False
        return self.logprob >= self.best


def pieces(prompt: str, logprobs: Logprobs, where: str) -> list[Piece]:
    """The tokens of ``prompt``, without those generated after it.

    Args:
        prompt: the text that was sent.
        logprobs: the log-probabilities of the returned tokens.
        where: the address, for error messages.

    Raises:
        DataError: the tokens are not those of the prompt.
    """
    starts = logprobs.text_offset
    lengths = {len(logprobs.tokens), len(logprobs.token_logprobs), len(logprobs.top_logprobs)}
    if not starts or lengths != {len(starts)} or list(starts) != sorted(starts):
        raise _mismatch("its lists of tokens do not agree", where)
    # Some servers count the BOS token's name as text.
    begin = starts[0]
    if not prompt.startswith(_known(logprobs.tokens[0])) and len(starts) > 1:
        begin = starts[1]
    found = list(_cut(logprobs, begin, len(prompt)))
    for piece, token in zip(found, logprobs.tokens, strict=False):
        known = _known(token)
        if piece.is_text and not prompt.startswith(known, piece.start):
            what = f"{known[:_SHOWN]!r} does not stand at character {piece.start}"
            raise _mismatch(what, where)
    _require_all(found, where)
    if not found or found[-1].end != len(prompt):
        raise _mismatch("its tokens end before the prompt does", where)
    return found


def score(found: list[Piece], cut: int, where: str) -> Score:
    """The score of the continuation, which begins at the character ``cut``.

    A token across the cut counts, because it holds a part of the continuation.

    Raises:
        DataError: the continuation has the first token, which the server did not predict.
    """
    continuation = [piece for piece in found if piece.end > cut]
    logprobs = [piece.logprob for piece in continuation if piece.logprob is not None]
    if not continuation or len(logprobs) < len(continuation):
        raise DataError(
            "a continuation without a context cannot be scored: the server predicts no first token",
            where=where,
            fix="give it a context, or run the model on this machine",
        )
    return Score(sum(logprobs), all(piece.greedy for piece in continuation))


def loss(found: list[Piece]) -> TextLoss:
    """The loss of all tokens that were predicted."""
    logprobs = [piece.logprob for piece in found if piece.logprob is not None]
    return TextLoss(-sum(logprobs), len(logprobs))


def likeliest(found: list[Piece], cut: int) -> TextLoss:
    """The loss of the likeliest token at the character ``cut``.

    The loss covers no token if none begins there or if the likeliest token is not known.
    """
    best = next((piece.best for piece in found if piece.start == cut), None)
    return TextLoss(0.0, 0) if best is None else TextLoss(-best, 1)


def require_same(found: list[TextLoss], where: str) -> None:
    """Refuse losses of one position's likeliest token that differ by more than rounding.

    Args:
        found: results of `likeliest`; losses that cover no token are ignored.
        where: the address, for error messages.

    Raises:
        DataError: they differ by more.
    """
    nats = [loss.nats for loss in found if loss.tokens]
    if nats and max(nats) - min(nats) > _ROUNDING:
        raise _mismatch(
            "what is likely in one place changes with the token that stands there", where
        )


def _cut(logprobs: Logprobs, begin: int, length: int) -> Iterator[Piece]:
    """The tokens that begin before the end of the prompt."""
    starts = [start - begin for start in logprobs.text_offset]
    ends = [*starts[1:], length]
    columns = zip(starts, ends, logprobs.token_logprobs, logprobs.top_logprobs, strict=True)
    for start, end, logprob, top in columns:
        if start >= length:
            return
        yield Piece(start, min(end, length), logprob, max(top.values()) if top else None)


def _require_all(found: list[Piece], where: str) -> None:
    """Refuse unpredicted tokens after the first, and tokens likelier than the likeliest.

    Some servers send null for an impossible token; without that token, a loss would be too low.
    """
    first = next((index for index, piece in enumerate(found) if piece.is_text), 0)
    for piece in found[first + 1 :]:
        if piece.logprob is None:
            raise _mismatch(f"the token at character {piece.start} has none", where)
    for piece in found:
        best = 0.0 if piece.best is None else piece.best
        if piece.logprob is not None and piece.logprob > best + _ROUNDING:
            what = f"the token at character {piece.start} is likelier than the likeliest"
            raise _mismatch(what, where)


def _known(token: str) -> str:
    """The certain part of a token's text, without incomplete characters."""
    return "" if token.startswith("bytes:") else token.split(_UNPRINTABLE)[0]


def _mismatch(what: str, where: str) -> DataError:
    return DataError(
        f"the server's log-probabilities are not those of the prompt: {what}",
        where=where,
        fix="run the model on this machine, or with a server such as vLLM",
    )
