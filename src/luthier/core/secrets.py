"""Removal of API keys from everything that a server returns.

A server may repeat a key: in a page that echoes the request, a proxy's log or an error message. The
key may be encoded as JSON, HTML, URL or base64, contain line breaks, change case, be reversed, or
appear only in part.
"""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Iterator

REPLACEMENT = "[API key]"
"""The replacement for a key."""
_WORD = 8
"""A shorter key is likely an ordinary word, such as the EMPTY that local servers accept: only whole
words are replaced."""
_PART = 16
"""Number of consecutive characters that identify a key; for short keys, two thirds of it."""
_BEGINNING = 4
"""Number of characters that identify a key after "Bearer"."""
_VARIABLE = re.compile(r"(?:^|_)(?:KEY|TOKEN|PASSWORD|SECRET)$", re.IGNORECASE)
_BEARER = "bearer"
_ESCAPE = re.compile(
    r"%(?:25)*(?P<url>[0-9a-fA-F]{2})"
    r"|\\+(?:u00|x)(?P<json>[0-9a-fA-F]{2})|\\+(?P<sign>[/\"'])"
    r"|&(?:amp;)*#[xX]0*(?P<hex>[0-9a-fA-F]{2});|&(?:amp;)*#0*(?P<number>\d{2,3});"
    r"|(?P<name>&(?:amp;)*(?:amp|lt|gt|quot|apos);)"
)
_NO_ESCAPE = re.compile(r"(?!)")
# Characters that break up text: white space, soft hyphens and zero-width characters.
_BREAKS = "".join(map(chr, range(33))) + "\x7f\xa0\xad\u200b\u200c\u200d\u2028\u2029\u2060\ufeff"
_FOLD = str.maketrans(
    dict.fromkeys(_BREAKS) | {chr(code): chr(code + 32) for code in range(65, 91)}
)


class Secrets:
    """A filter that removes keys from texts.

    Args:
        keys: the keys that were sent; None and "" are ignored.
    """

    def __init__(self, *keys: str | None) -> None:
        known = sorted({key for key in keys if key})
        self._words = [_by_itself(key) for key in known if len(key) < _WORD]
        self._keys = [_folded(key) for key in known if len(key) >= _WORD]
        self._parts: dict[int, set[str]] = {}
        for key in known:
            if len(key) >= _WORD:
                size = min(_PART, max(_WORD, -(-2 * len(key) // 3)))
                parts = self._parts.setdefault(size, set())
                for form in map(_folded, _forms(key)):
                    parts |= {form[at : at + size] for at in range(len(form) - size + 1)}

    @classmethod
    def of_environment(cls, *more: str | None) -> Secrets:
        """The keys in the environment variables that other packages use.

        Args:
            more: additional keys.
        """
        found = (value for name, value in os.environ.items() if _VARIABLE.search(name))
        return cls(*more, *(value for value in found if len(value) >= _WORD))

    def scrub(self, text: str) -> str:
        """The text with `REPLACEMENT` for every key or identifying part of one."""
        for word in self._words:
            text = word.sub(REPLACEMENT, text)
        if len(text) < _WORD or not self._parts:
            return text
        # The raw text comes first: a character before a key may look like the start of an escape.
        for escape in (_NO_ESCAPE, _ESCAPE):
            if any(self._places(_folded(escape.sub(_unescaped, text)))):
                text = self._without(text, escape)
        return text

    def _without(self, text: str, escape: re.Pattern[str]) -> str:
        """The text without keys; slower, because each character is mapped to its position."""
        units = list(_units(text, escape))
        places = sorted(self._places("".join(sign for sign, _, _ in units)))
        kept, at = [], 0
        for start, end in _joined(places):
            begin = units[start][1]
            kept += [text[at:begin], REPLACEMENT]
            at = units[end - 1][2]
        return "".join([*kept, text[at:]])

    def _places(self, flat: str) -> Iterator[tuple[int, int]]:
        """Positions of keys or their parts in a folded text."""
        for size, parts in self._parts.items():
            for start in range(len(flat) - size + 1):
                if flat[start : start + size] in parts:
                    yield start, start + size
        start = flat.find(_BEARER)
        while start >= 0:
            start += len(_BEARER)
            for key in self._keys:
                size = _in_common(key, flat[start : start + len(key)])
                if size >= _BEGINNING:
                    yield start, start + size
            start = flat.find(_BEARER, start)


def _forms(key: str) -> Iterator[str]:
    """Encodings of a key that `_ESCAPE` does not cover.

    Base64 depends on the number of preceding bytes modulo 3. The first and last characters depend
    on the neighbouring text and are left out.
    """
    yield key
    yield key[::-1]
    yield key.encode().hex()
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + key.encode()).decode().rstrip("=")
        begin, end = -(-8 * before // 6), (before + len(key)) * 8 // 6
        yield coded[begin:end]
        yield coded[begin:end].replace("+", "-").replace("/", "_")


def _folded(text: str) -> str:
    """The text without separators, in lower case where the alphabet is ASCII."""
    return text.translate(_FOLD)


def _unescaped(match: re.Match[str]) -> str:
    """The character that an escape represents."""
    if code := match["url"] or match["json"] or match["hex"]:
        return chr(int(code, 16))
    if match["name"]:
        return html.unescape(match["name"].replace("amp;", "", match["name"].count("amp;") - 1))
    return match["sign"] or chr(int(match["number"]))


def _units(text: str, escape: re.Pattern[str]) -> Iterator[tuple[str, int, int]]:
    """Each folded character with the start and end of its source."""
    at = 0
    for match in escape.finditer(text):
        yield from _signs(text, at, match.start())
        if sign := _folded(_unescaped(match)):
            yield sign, match.start(), match.end()
        at = match.end()
    yield from _signs(text, at, len(text))


def _signs(text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    for at in range(start, end):
        if sign := _folded(text[at]):
            yield sign, at, at + 1


def _in_common(first: str, second: str) -> int:
    """Length of the common prefix."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(first), len(second)))


def _joined(places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Sorted positions, with adjacent ones merged."""
    last: tuple[int, int] | None = None
    for start, end in places:
        if last and start <= last[1]:
            last = last[0], max(end, last[1])
            continue
        if last:
            yield last
        last = start, end
    if last:
        yield last


def _by_itself(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
