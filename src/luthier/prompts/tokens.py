"""Tokenisation of text in which special tokens from the data stay text.

Only a tokenizer or its chat template may make special tokens. Otherwise a row that spells one out,
such as ``<|im_end|>``, would end its own turn and could begin another under any role.

A text is tokenised whole, as ``apply_chat_template(tokenize=True)`` does it: many tokenizers add a
space before a text, so the tokens of its pieces differ from those of the text. The tokens of a
piece are found through their offsets.
"""

from __future__ import annotations

import copy
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

from luthier.prompts.batches import Batches, Offsets, Pair, Request
from luthier.prompts.prefetch import T
from luthier.prompts.token_boundaries import Anchors, Boundary
from luthier.prompts.tokenizer_rules import raise_if_panicked

# Unicode guarantees that these are never characters, so rows hardly ever have them; if one does, it
# is hidden like a special token.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_HIDDEN = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
_BYTE = re.compile("<0x[0-9A-F]{2}>")
# Marks around the number of an intended special token in a text that spells out the others.
_MEANT_OPEN, _MEANT_CLOSE = "\ufdd2", "\ufdd3"


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that prompts need."""

    @property
    def bos_token_id(self) -> int | None:
        """The BOS token, which begins a text."""

    @property
    def eos_token(self) -> str | None:
        """The EOS token, which ends a text or a turn."""

    @property
    def eos_token_id(self) -> int | None:
        """The id of the EOS token."""

    @property
    def chat_template(self) -> Any:
        """The chat template; None for a tokenizer of a base model."""

    @property
    def special_tokens_map(self) -> Mapping[str, Any]:
        """Special tokens by their role, such as ``bos_token``."""

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """The added tokens by id; each has ``content`` and ``special``."""

    def __call__(self, text: str, **options: Any) -> Mapping[str, Any]:
        """``input_ids`` of ``text``.

        With ``split_special_tokens``, special tokens in it are tokenised like any other text.
        """

    def decode(self, ids: Sequence[int], **options: Any) -> str:
        """The text of some ids."""

    def apply_chat_template(self, conversation: list[dict[str, Any]], **options: Any) -> Any:
        """The conversation in the format that the model was trained on."""


class Tokens(NamedTuple):
    """A text as tokens.

    Attributes:
        ids: the tokens.
        offsets: the begin and end of each token in the text, in characters; None if the tokenizer
            has no offsets.
    """

    ids: tuple[int, ...]
    offsets: Sequence[Pair] | None


class Encoder:
    """Turns text into ids; special tokens that `hide` has marked stay text.

    Args:
        tokenizer: the model's tokenizer.
        keep_special: let rows spell out special tokens, so that nothing is hidden.
    """

    def __init__(self, tokenizer: Tokenizer, *, keep_special: bool = False) -> None:
        self._tokenizer = tokenizer
        self._keeps = keep_special
        added = tokenizer.added_tokens_decoder
        self._ids = {str(token.content): number for number, token in added.items() if token.special}
        self._ids.pop("", None)
        # The longest first: a special token may begin with another one.
        names = sorted(self._ids, key=len, reverse=True)
        self._special = [*names, _OPEN, _CLOSE]
        self._place = {name: index for index, name in enumerate(self._special)}
        self._pattern = re.compile("|".join(map(re.escape, self._special)))
        unknown = getattr(tokenizer, "unk_token_id", None)
        # Any character may become byte tokens, which some tokenizers declare special.
        bytes_ = {number for name, number in self._ids.items() if _BYTE.fullmatch(name)}
        self._guarded = frozenset(self._ids.values()) - {unknown} - bytes_
        self._has_offsets = bool(getattr(tokenizer, "is_fast", False))
        self._known: Mapping[Request, tuple[int, ...]] = {}

    @cached_property
    def begin(self) -> tuple[int, ...]:
        """The BOS token before a plain text; empty if the tokenizer adds none."""
        custom = self.literal_ids("", add_special_tokens=True)
        return custom[:1] if custom[:1] == (self._tokenizer.bos_token_id,) else ()

    def spelled(self, text: str) -> list[str]:
        """The special tokens that ``text`` spells out, in order."""
        return [name for name in self._pattern.findall(text) if name in self._ids]

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of some tokens, with special tokens spelled out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=False)

    def bare(self, text: str) -> str:
        """``text`` without the special tokens that it spells out."""
        return self._pattern.sub("", text)

    def hide(self, text: str) -> str:
        """``text`` with a mark in place of each special token that it spells out."""
        if self._keeps:
            return text
        return self._pattern.sub(lambda match: f"{_OPEN}{self._place[match[0]]}{_CLOSE}", text)

    def show(self, text: str) -> str:
        """``text`` as it was before `hide`."""
        if self._keeps:
            return text
        return _HIDDEN.sub(lambda match: self._special[int(match[1])], text)

    def ids(self, text: str) -> tuple[int, ...]:
        """The ids of marked-up text: special tokens are special, and hidden ones plain text."""
        return self.encode(text).ids

    def encode(self, text: str) -> Tokens:
        """The tokens of marked-up text; offsets are places in the result of `show`."""
        if self._keeps or _OPEN not in text:
            tokens = self._encode(text, literal=False)
            return self._without_smuggled(tokens, text, self._anchors.meant(text))
        return self._encode_hidden(text) or self._encode_pieces(text)

    def literal(self, text: str, *, add_special_tokens: bool = False) -> Tokens:
        """The tokens of plain text, optionally within the tokenizer's usual special tokens."""
        inner = self._encode(text, literal=not self._keeps)
        safe = self._without_smuggled(inner, text, [])
        if not add_special_tokens:
            return safe
        outer = self._encode(text, literal=not self._keeps, add_special_tokens=True)
        if safe.ids == inner.ids and not self._keeps:
            return outer
        # The special tokens around a text do not depend on the text.
        start = next(
            start
            for start in range(len(outer.ids) + 1)
            if outer.ids[start : start + len(inner.ids)] == inner.ids
        )
        before, after = outer.ids[:start], outer.ids[start + len(inner.ids) :]
        if self._keeps:  # the text may spell them out itself
            before = () if before == safe.ids[: len(before)] else before
            after = () if after and after == safe.ids[-len(after) :] else after
        return Tokens((*before, *safe.ids, *after), None)

    def literal_ids(self, text: str, *, add_special_tokens: bool = False) -> tuple[int, ...]:
        """The ids of `literal`."""
        return self.literal(text, add_special_tokens=add_special_tokens).ids

    def boundary(self, whole: Tokens, before: Sequence[int], place: int) -> Boundary:
        """The boundary between the tokens of a text's two parts.

        A token across the cut belongs to the second part, because its characters there could not be
        learned otherwise.

        Args:
            whole: the tokens of the text.
            before: the tokens of the part before the cut.
            place: the end of that part in the text, in characters.
        """
        if whole.ids[: len(before)] == tuple(before):
            return Boundary(len(before), True)
        if whole.offsets is not None:
            reaching = (i for i, (_, end) in enumerate(whole.offsets) if end > place)
            return Boundary(next(reaching, len(whole.ids)), False)
        pairs = zip(whole.ids, before, strict=False)
        shared = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
        return Boundary(min(len(whole.ids), len(before)) if shared is None else shared, False)

    def _is_guarded(self, name: str) -> bool:
        return self._ids.get(name) in self._guarded

    def request(self, text: str, *, literal: bool, add_special_tokens: bool = False) -> Request:
        """The request with which `ahead` prepares `encode` or `literal` of a text."""
        return Request(text, literal and not self._keeps, add_special_tokens)

    def ahead(self, items: Iterable[T], needed: Callable[[T], Iterable[Request]]) -> Iterator[T]:
        """The items, one by one, while the texts for the next items are encoded in batches.

        Results do not change: a text that was encoded ahead is found and not encoded again.
        """
        for batch, known in self._batches.ahead(items, needed):
            self._known = known
            yield from batch
        self._known = {}

    @property
    def is_ahead(self) -> bool:
        """Whether `ahead` encodes anything; not if the tokenizer does more than its backend."""
        return self._batches.agrees

    @cached_property
    def _batches(self) -> Batches:
        return Batches(
            self._tokenizer if self._has_offsets else None,
            lambda request: self._encode_now(*request).ids,
        )

    def cut(self, text: str, place: int) -> int:
        """The end of the part of ``text[:place]`` that the tokens of ``text`` cover; maybe 0."""
        return self._anchors.last(text, place) if self._has_offsets and _OPEN not in text else 0

    def is_behind_token(self, text: str, place: int) -> bool:
        """Whether a special token ends at a place where the text can be cut."""
        start = self.cut(text, place)
        return start > 0 and text[start:place] in self._ids

    def before(self, whole: Tokens, text: str, place: int) -> tuple[int, ...]:
        """The ids of ``text[:place]``, given the tokens ``whole`` of the marked-up text."""
        start = self.cut(text, place)
        head = self._anchors.before(whole.ids, text, start) if start else None
        if head is None:
            return self.encode(text[:place]).ids
        tail = self.encode(text[start:place]).ids
        is_same = tail[:1] == whole.ids[len(head) : len(head) + 1]
        return head + tail if is_same else self.encode(text[:place]).ids

    @cached_property
    def _anchors(self) -> Anchors:
        added = list(self._tokenizer.added_tokens_decoder.values())
        return Anchors(self._pattern, self._ids, self._guarded, added)

    def _encode(self, text: str, *, literal: bool, add_special_tokens: bool = False) -> Tokens:
        known = self._known.get(Request(text, literal, add_special_tokens))
        if known is not None:
            now = partial(self._encode_now, text, literal, add_special_tokens)
            return Tokens(known, Offsets(lambda: now().offsets or ()))
        return self._encode_now(text, literal, add_special_tokens)

    def _encode_now(self, text: str, literal: bool, add_special_tokens: bool) -> Tokens:
        options = {"return_offsets_mapping": True} if self._has_offsets else {}
        try:
            encoded = self._tokenizer(
                text, add_special_tokens=add_special_tokens, split_special_tokens=literal, **options
            )
        except BaseException as error:
            raise_if_panicked(error)
            raise
        offsets = encoded["offset_mapping"] if self._has_offsets else None
        ids: Sequence[int] = encoded["input_ids"]
        return Tokens(tuple(ids), None if offsets is None else tuple(map(tuple, offsets)))

    def _without_smuggled(self, tokens: Tokens, text: str, meant: Sequence[int]) -> Tokens:
        """The tokens, with unintended special tokens replaced by their characters.

        A unigram or word model finds the piece ``</s>`` in plain text too, and some normalisers
        make it from other characters.

        Args:
            tokens: the tokens of ``text``.
            text: the text.
            meant: the places of the special tokens that the template wrote.
        """
        found = sum(map(self._guarded.__contains__, tokens.ids))
        if self._keeps or tokens.offsets is None or found == len(meant):
            return tokens
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for token, (start, end) in zip(tokens.ids, tokens.offsets, strict=True):
            if token not in self._guarded or any(start <= place < end for place in meant):
                spelled: tuple[int, ...] = (token,)
            else:
                letters = (self._encode(letter, literal=True).ids for letter in text[start:end])
                spelled = tuple(i for each in letters for i in each if i not in self._guarded)
            ids += spelled
            offsets += [(start, end)] * len(spelled)
        return Tokens(tuple(ids), tuple(offsets))

    def _encode_hidden(self, text: str) -> Tokens | None:
        """The tokens of the whole text, from a tokenizer with renamed special tokens.

        Intended special tokens get their new names, and hidden ones are spelled out.
        """
        shown = self.show(text)
        if self._renamed is None or _MEANT_OPEN in shown or _MEANT_CLOSE in shown:
            return None
        parts: list[str] = []
        ends, shifts, meant = [0], [0], []
        length = at = 0  # characters with renamed special tokens, and as shown
        for number, piece in enumerate(_HIDDEN.split(text)):
            if number % 2:
                name = self._special[int(piece)]
                parts.append(name)
                length, at = length + len(name), at + len(name)
                continue
            last = 0
            for match in (*self._pattern.finditer(piece), None):
                plain = piece[last : match.start() if match else None]
                parts.append(plain)
                length, at = length + len(plain), at + len(plain)
                if match is None:
                    break
                renamed = f"{_MEANT_OPEN}{self._place[match[0]]}{_MEANT_CLOSE}"
                parts.append(renamed)
                if self._is_guarded(match[0]):
                    meant.append(at)
                length, at = length + len(renamed), at + len(match[0])
                ends.append(length)
                shifts.append(at - length)
                last = match.end()
        try:
            encoding = self._renamed.encode("".join(parts), add_special_tokens=False)
        except BaseException as error:
            raise_if_panicked(error)
            raise

        def place(here: int) -> int:
            return here + shifts[bisect_right(ends, here) - 1]

        ids = tuple(self._meant.get(token, token) for token in encoding.ids)
        offsets = tuple((place(start), place(end)) for start, end in encoding.offsets)
        return self._without_smuggled(Tokens(ids, offsets), shown, meant)

    @cached_property
    def _meant(self) -> dict[int, int]:
        """A map from the ids of the new names to those of the special tokens."""
        if self._renamed is None:
            return {}
        names = {
            self._renamed.token_to_id(f"{_MEANT_OPEN}{index}{_MEANT_CLOSE}"): self._ids.get(name)
            for index, name in enumerate(self._special)
        }
        return {other: number for other, number in names.items() if number is not None}

    @cached_property
    def _renamed(self) -> Any | None:
        """The tokenizer with special tokens that no row can spell; None if that fails."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None or not self._has_offsets:
            return None
        made = copy.deepcopy(backend)
        made.no_truncation()
        made.no_padding()
        made.encode_special_tokens = True  # the old names are text from now on
        renamed = []
        for token in self._tokenizer.added_tokens_decoder.values():
            if token.special and token.content in self._ids:
                name = f"{_MEANT_OPEN}{self._place[str(token.content)]}{_MEANT_CLOSE}"
                flags = {
                    flag: getattr(token, flag)
                    for flag in ("single_word", "lstrip", "rstrip", "normalized")
                }
                renamed.append(type(token)(name, special=False, **flags))
        made.add_tokens(renamed)
        names = (token.content for token in renamed)
        works = all(len(made.encode(name, add_special_tokens=False).ids) == 1 for name in names)
        return made if works else None

    def _encode_pieces(self, text: str) -> Tokens:
        """The tokens of each piece, if the text with hidden tokens cannot be encoded whole."""
        ids: list[int] = []
        offsets: list[tuple[int, int]] | None = []
        at = 0
        for shown, tokens in self._pieces(text):
            ids += tokens.ids
            if offsets is not None and tokens.offsets is not None:
                offsets += [(at + start, at + end) for start, end in tokens.offsets]
            else:
                offsets = None
            at += len(shown)
        return Tokens(tuple(ids), None if offsets is None else tuple(offsets))

    def _pieces(self, text: str) -> Iterator[tuple[str, Tokens]]:
        for index, piece in enumerate(_HIDDEN.split(text)):
            if index % 2:
                name = self._special[int(piece)]
                yield name, self.literal(name)
            elif piece:
                yield piece, self._encode(piece, literal=False)
