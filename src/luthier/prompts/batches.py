"""Many texts encoded at once, on all cores, while other work goes on.

A tokenizer of the Rust kind encodes a list of texts on all cores, and Python is free meanwhile. So
the texts that will be asked for soon are encoded in batches ahead of what asks for them.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, overload

from luthier.prompts.prefetch import T, ahead
from luthier.prompts.tokenizer_rules import panicked

Pair = tuple[int, int]
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

    @property
    def characters(self) -> int:
        """Characters of the text."""
        return len(self.text)


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
        """The items in batches, with the ids of the texts that they need; see `ahead`."""
        for batch, known in ahead(items, needed, self._encoded):
            first = next(iter(known), None)
            if first is not None and self._encode(first) != known[first]:
                self.agrees = False
            yield batch, known if self.agrees else {}

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
