"""Many texts encoded at once, on all cores, while other work goes on.

A tokenizer of the Rust kind encodes a list of texts on all cores, and Python is free meanwhile. So
the texts that will be asked for soon are encoded in batches ahead of what asks for them.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple, TypeVar, overload

from luthier.prompts.tokenizer_rules import panicked

T = TypeVar("T")
Pair = tuple[int, int]
_ITEMS = 256
_CHARACTERS = 2**20
_FEWEST = 32
"""Fewer texts are not worth a copy of the tokenizer."""


class Request(NamedTuple):
    """A text, and how it is encoded.

    Attributes:
        text: the text.
        literal: special tokens in it are text.
        add_special_tokens: with the special tokens around it that are the custom.
    """

    text: str
    literal: bool
    add_special_tokens: bool = False


Known = Mapping[Request, tuple[int, ...]]
"""The ids of texts."""


class Offsets(Sequence[Pair]):
    """The places of tokens, which are found only when somebody looks at one: few callers do."""

    def __init__(self, find: Callable[[], Sequence[Pair]]) -> None:
        self._find = find

    @cached_property
    def _found(self) -> tuple[Pair, ...]:
        return tuple(self._find())

    @overload
    def __getitem__(self, index: int) -> Pair: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Pair]: ...

    def __getitem__(self, index: int | slice) -> Pair | Sequence[Pair]:
        return self._found[index]

    def __len__(self) -> int:
        return len(self._found)


class Batches:
    """Encodes texts ahead of their use.

    Args:
        tokenizer: the model's tokenizer; only one with a Rust backend encodes ahead.
        encode: the ids of one text, as the tokenizer itself gives them. One text of each batch is
            compared with it: a tokenizer in Python around the backend may do more than that.
    """

    def __init__(self, tokenizer: Any, encode: Callable[[Request], tuple[int, ...]]) -> None:
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self._encode = encode
        self.agrees = self._backend is not None
        self._copies: dict[bool, Any] = {}

    def ahead(
        self, items: Iterable[T], needed: Callable[[T], Iterable[Request]]
    ) -> Iterator[tuple[list[T], Known]]:
        """The items in batches, with the ids of the texts that they need.

        The next batch is made ready, and encoded, before the one at hand is given out.
        """
        waiting: tuple[list[T], list[Request], Future[Known]] | None = None
        with ThreadPoolExecutor(max_workers=1) as pool:
            for batch, requests in _batches(items, needed):
                future = pool.submit(self._encoded, requests)
                if waiting is not None:
                    yield self._checked(*waiting)
                waiting = batch, requests, future
            if waiting is not None:
                yield self._checked(*waiting)

    def _checked(
        self, batch: list[T], requests: list[Request], future: Future[Known]
    ) -> tuple[list[T], Known]:
        known = future.result()
        if known and self._encode(requests[0]) != known[requests[0]]:
            self.agrees = False
        return batch, known if self.agrees else {}

    def _encoded(self, requests: Sequence[Request]) -> Known:
        if not self.agrees or len(requests) < _FEWEST:
            return {}
        alike: dict[tuple[bool, bool], list[Request]] = defaultdict(list)
        for request in requests:
            alike[request.literal, request.add_special_tokens].append(request)
        known: dict[Request, tuple[int, ...]] = {}
        for (literal, add_special_tokens), some in alike.items():
            texts = [request.text for request in some]
            try:
                made = self._copy(literal).encode_batch_fast(
                    texts, add_special_tokens=add_special_tokens
                )
            except BaseException as error:
                # Of a text that is none, such as half a character, and of one that the tokenizer
                # fails in, the row says so when it is encoded by itself.
                if isinstance(error, TypeError | ValueError) or panicked(error):
                    return {}
                raise
            known |= {request: tuple(each.ids) for request, each in zip(some, made, strict=True)}
        return known

    def _copy(self, literal: bool) -> Any:
        """A tokenizer of our own: calls of the model's change its settings meanwhile."""
        if literal not in self._copies:
            made: Any = copy.deepcopy(self._backend)
            made.no_truncation()
            made.no_padding()
            made.encode_special_tokens = literal
            self._copies[literal] = made
        return self._copies[literal]


def _batches(
    items: Iterable[T], needed: Callable[[T], Iterable[Request]]
) -> Iterator[tuple[list[T], list[Request]]]:
    batch: list[T] = []
    requests: dict[Request, None] = {}
    size = 0
    for item in items:
        batch.append(item)
        for request in needed(item):
            requests[request] = None
            size += len(request.text)
        if len(batch) >= _ITEMS or size >= _CHARACTERS:
            yield batch, list(requests)
            batch, requests, size = [], {}, 0
    if batch:
        yield batch, list(requests)
