"""The one way to a terminal: no text from outside commands it.

Answers, prompts, names of files, errors of a server, chat templates and libraries may hold control
characters, which move the cursor, change the title, or turn text around so that it reads otherwise.
`printable` shows them as escapes. Everything that is printed passes it: Luthier's own tables and
messages in a `TerminalConsole`, which adds colours afterwards, and what libraries print in a
`ForeignStream`, which `guard_streams` puts in the place of standard output and error.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import IO, Any, cast

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style, StyleType
from rich.text import Span
from rich.text import Text as RichText

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f"  # direction, separators, invisible operators
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"  # lone surrogates, tags
)


def printable(text: str) -> str:
    r"""Text whose control characters are shown as escapes, such as ``\x1b`` and ``\u202e``.

    Escaped are C0 but tab and newline, DEL, C1, marks and overrides of the writing direction, line
    and paragraph separators, word joiners, byte order marks, invisible operators, annotations, tags
    and lone surrogates. All else stays as it is. That includes what writing needs although it is
    invisible: joiners and non-joiners (U+200D, U+200C; emoji, Persian, Indic scripts), combining
    marks, variation selectors, soft hyphens, and the space of no width (U+200B; Khmer, Thai).
    A backslash is not escaped, so the text may hold the same letters by itself.
    """
    return _CONTROL.sub(_escape, text)


def encodable(text: str, encoding: str | None) -> str:
    """Printable text, in which escapes also stand for what ``encoding`` has no bytes for."""
    shown = printable(text)
    codec = encoding or "utf-8"
    return shown.encode(codec, "backslashreplace").decode(codec)


def printable_values(value: Any) -> Any:
    """Mappings and sequences as they are, with every text in them printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable_values(key): printable_values(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [printable_values(one) for one in value]
    return value


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


class Text(RichText):
    """Text for the terminal, printable from the start so that its width is known."""

    def __init__(self, text: str = "", style: StyleType = "", **settings: Any) -> None:
        super().__init__(printable(text), style, **settings)

    def append(self, text: RichText | str, style: StyleType | None = None) -> Text:
        """Add to the end."""
        super().append(printable(text) if isinstance(text, str) else text, style)
        return self

    @classmethod
    def assemble(cls, *parts: Any, **settings: Any) -> Text:
        """See `rich.text.Text.assemble`."""
        return cast("Text", super().assemble(*parts, **settings))


class TerminalConsole(RichConsole):
    """A console whose texts are shown as they are: no markup, no emoji codes, no control character.

    Args:
        stream: a terminal, a file or a pipe.
        settings: of `rich.console.Console`.
    """

    def __init__(self, stream: IO[str], **settings: Any) -> None:
        super().__init__(
            file=unguarded(stream), markup=False, emoji=False, highlight=False, **settings
        )

    def render_str(self, text: str, **settings: Any) -> RichText:
        """See `rich.console.Console.render_str`."""
        return super().render_str(encodable(text, self.encoding), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See `rich.console.Console.render`; all that is printed comes through here."""
        if isinstance(renderable, RichText):
            renderable = encodable_text(renderable, self.encoding)
        for segment in super().render(renderable, options):
            if segment.control:  # the console's own: where a bar is drawn
                yield segment
            else:
                yield Segment(encodable(segment.text, self.encoding), _unlinked(segment.style))


def encodable_text(text: RichText, encoding: str | None) -> RichText:
    """The text as `encodable` has it, each part in its own style."""
    plain = text.plain
    if encodable(plain, encoding) == plain:
        return text
    parts = [encodable(character, encoding) for character in plain]
    places = [0, *accumulate(map(len, parts))]
    shown = text.blank_copy("".join(parts))
    shown.spans = [
        Span(places[span.start], places[min(span.end, len(plain))], span.style)
        for span in text.spans
    ]
    return shown


def _unlinked(style: Style | None) -> Style | None:
    """The style without an address, which a terminal would be told in a sequence of its own."""
    return style.update_link(None) if style and style.link else style


class ForeignStream:
    """A stream for what others print: libraries, warnings, tracebacks.

    Args:
        raw: the stream that it stands for.
        put: receives printable text; without it, ``raw`` does.
    """

    def __init__(self, raw: IO[str], put: Callable[[str], object] | None = None) -> None:
        self.raw = raw
        self._put = put or raw.write

    def write(self, text: str) -> int:
        """Write text, its control characters as escapes."""
        self._put(encodable(text, encoding_of(self.raw)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """What else a stream has: its encoding, its number, whether it is a terminal."""
        return getattr(self.raw, name)


def unguarded(stream: IO[str]) -> IO[str]:
    """The stream itself, for text that is printable already."""
    while isinstance(stream, ForeignStream):
        stream = stream.raw
    return stream


def encoding_of(stream: IO[str]) -> str | None:
    """The encoding of a stream; None: it takes any text."""
    found: str | None = getattr(stream, "encoding", None)
    return found


def guarded(stream: IO[str], put: Callable[[str], object] | None = None) -> IO[str]:
    """The stream for what others print: see `ForeignStream`."""
    return cast("IO[str]", ForeignStream(unguarded(stream), put))


def guard_streams() -> None:
    """Let everything that this process prints from here on be printable."""
    sys.stdout = cast("Any", guarded(sys.stdout))
    sys.stderr = cast("Any", guarded(sys.stderr))


def printable_json(value: Any, encoding: str | None) -> str:
    """A JSON document whose escapes are JSON's own, so that it reads back whole.

    Args:
        value: what `json.dumps` takes.
        encoding: of the stream that it is for.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    shown = _CONTROL.sub(lambda found: json.dumps(found[0])[1:-1], text)
    if encodable(shown, encoding) == shown:
        return shown
    return json.dumps(value, indent=2, allow_nan=False)
