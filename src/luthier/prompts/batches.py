"""Batched encoding of texts ahead of their use.

A Rust tokenizer encodes a list of texts on all cores and does not block Python meanwhile. So texts
that will be needed soon are encoded ahead in batches.
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
"""Smallest batch; fewer texts are not worth a copy of the tokenizer."""


class Request(NamedTuple):
    """A text and the options of its encoding.

    Attributes:
        text: the text.
        literal: whether special tokens in it stay text.
        add_special_tokens: whether to add the tokenizer's usual special tokens around it.
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
    """The offsets of tokens, computed lazily because few callers need them."""

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
        encode: encodes one text with the tokenizer itself. One text of each batch is compared with
            it, because a tokenizer's Python code may do more than its backend.
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
                # An invalid text, such as a lone surrogate, or a panic is reported for its row
                # when the row is encoded by itself.
                if isinstance(error, TypeError | ValueError) or panicked(error):
                    return {}
                raise
            known |= {request: tuple(each.ids) for request, each in zip(some, made, strict=True)}
        return known

    def _copy(self, literal: bool) -> Any:
        """A copy of the tokenizer, because calls of the original change its settings meanwhile."""
        if literal not in self._copies:
            made: Any = copy.deepcopy(self._backend)
            made.no_truncation()
            made.no_padding()
            made.encode_special_tokens = literal
            self._copies[literal] = made
        return self._copies[literal]
