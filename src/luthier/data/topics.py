"""Bundled general text: the prose of Python's language reference."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pydoc_data.topics import topics

from luthier.core.console import Console
from luthier.core.row import Row

_MIN_WORDS = 100
_MAX_WORDS = 300
_MIN_PARAGRAPH_WORDS = 12
_UNDERLINE = re.compile(r"[*=\-~^#]{3,}")
_MARKUP = re.compile(r"\*\*|(?<!\w)\*(?=\w)|(?<=\w)\*(?!\w)|``")
_QUOTED_CODE = re.compile(r'"([^"\s]+)"')
_FOOTNOTE = re.compile(r"\s?\[\d+\]")
_PROSE = re.compile(r"[A-Z“‘(\"].*[.:!?)]", re.DOTALL)


def read_topics(console: Console) -> Iterator[Row]:
    """Texts of 100 to 300 words in the column ``text``, in the order of topics.

    A text consists of neighbouring paragraphs of one topic. Headings, grammar, code examples,
    tables and lists are left out, and passages shared by topics are used once.
    """
    met: set[str] = set()
    for topic in sorted(topics):
        fresh = [part for part in _paragraphs(topics[topic]) if part not in met]
        met.update(fresh)
        for number, text in enumerate(_texts(fresh), start=1):
            yield Row({"text": text, "topic": topic}, f"python-topics {topic} text {number}")


def _texts(paragraphs: Iterable[str]) -> Iterator[str]:
    """Neighbouring paragraphs, joined until there are enough words."""
    gathered: list[str] = []
    words = 0
    for paragraph in paragraphs:
        length = len(paragraph.split())
        if words >= _MIN_WORDS or words + length > _MAX_WORDS:
            if words >= _MIN_WORDS:
                yield "\n\n".join(gathered)
            gathered, words = [], 0
        if length <= _MAX_WORDS:
            gathered.append(paragraph)
            words += length
    if words >= _MIN_WORDS:
        yield "\n\n".join(gathered)


def _paragraphs(document: str) -> Iterator[str]:
    for block in re.split(r"\n\s*\n", document):
        lines = block.splitlines()
        if any(line.startswith("   ") for line in lines) or any(map(_UNDERLINE.search, lines)):
            continue  # code, grammar, a definition list, a heading, or a table
        text = _FOOTNOTE.sub("", _MARKUP.sub("", " ".join(block.split())))
        text = _QUOTED_CODE.sub(r"\1", text)
        if len(text.split()) >= _MIN_PARAGRAPH_WORDS and _PROSE.fullmatch(text):
            yield text
