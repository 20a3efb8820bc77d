"""Safe terminal output: foreign text cannot control the terminal.

Answers, prompts, file names, server errors, chat templates and libraries may contain control
characters that move the cursor, change the title or reverse the text direction. `printable` escapes
them. All output passes through it: Luthier's tables and messages in a `TerminalConsole`, which adds
colours afterwards, and output of libraries in a `ForeignStream`, which `guard_streams` installs for
standard output and error.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
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

_BLANKS = re.compile(" +(?=\n)")


def printable(text: str) -> str:
    r"""The text with control characters escaped, as in ``\x1b`` and ``\u202e``.

    Escaped are C0 except tab and newline, DEL, C1, direction marks and overrides, line and
    paragraph separators, word joiners, byte order marks, invisible operators, annotations, tags and
    lone surrogates. Invisible characters that scripts need are kept: joiners and non-joiners
    (U+200D, U+200C; emoji, Persian, Indic scripts), combining marks, variation selectors, soft
    hyphens and the zero-width space (U+200B; Khmer, Thai). Backslashes are not escaped, so the
    result is not reversible.
    """
    return _CONTROL.sub(_escape, text)


def encodable(text: str, encoding: str | None) -> str:
    """Printable text that also escapes characters missing from ``encoding``."""
    shown = printable(text)
    codec = encoding or "utf-8"
    return shown.encode(codec, "backslashreplace").decode(codec)


def printable_values(value: Any) -> Any:
    """The nested mappings and sequences with every text made printable."""
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
    """Terminal text, made printable at construction so that its width is known."""

    def __init__(self, text: str = "", style: StyleType = "", **settings: Any) -> None:
        super().__init__(printable(text), style, **settings)

    def append(self, text: RichText | str, style: StyleType | None = None) -> Text:
        """Append text."""
        super().append(printable(text) if isinstance(text, str) else text, style)
        return self

    @classmethod
    def assemble(cls, *parts: Any, **settings: Any) -> Text:
        """See `rich.text.Text.assemble`."""
        return cast("Text", super().assemble(*parts, **settings))


class TerminalConsole(RichConsole):
    """A console that prints text literally: no markup, no emoji codes, no control characters.

    Args:
        stream: a terminal, file or pipe.
        settings: arguments of `rich.console.Console`.
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
        """See `rich.console.Console.render`; all output passes through it."""
        if isinstance(renderable, RichText):
            renderable = encodable_text(renderable, self.encoding)
        for segment in super().render(renderable, options):
            if segment.control:  # the console's own, to draw progress bars
                yield segment
            else:
                yield Segment(encodable(segment.text, self.encoding), _unlinked(segment.style))


class ResultConsole(TerminalConsole):
    """A console that leaves no blanks at the ends of lines, as wrapping and padding do."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See `TerminalConsole.render`."""
        yield from _without_trailing_blanks(super().render(renderable, options))


def _without_trailing_blanks(segments: Iterable[Segment]) -> Iterator[Segment]:
    """The segments without blanks at the ends of lines, unless these have a background."""
    blanks: list[Segment] = []
    for segment in segments:
        text, style, control = segment
        if style and style.bgcolor:
            written = text
        else:
            text = _BLANKS.sub("", text)
            written = text.rstrip(" ")
        if written.startswith("\n"):
            blanks.clear()
        elif written or control:
            yield from blanks
            blanks.clear()
        if written or control:
            yield Segment(written, style, control)
        if blank := text[len(written) :]:
            blanks.append(Segment(blank, style))
    yield from blanks


def encodable_text(text: RichText, encoding: str | None) -> RichText:
    """The text converted by `encodable`, with styles kept."""
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
    """The style without its hyperlink, which would be emitted as a control sequence."""
    return style.update_link(None) if style and style.link else style


class ForeignStream:
    """A stream for the output of libraries, warnings and tracebacks.

    Args:
        raw: the stream it replaces.
        put: receives printable text; default: ``raw``.
    """

    def __init__(self, raw: IO[str], put: Callable[[str], object] | None = None) -> None:
        self.raw = raw
        self._put = put or raw.write

    def write(self, text: str) -> int:
        """Write text with control characters escaped."""
        self._put(encodable(text, encoding_of(self.raw)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Any other attribute of the stream: encoding, file number, whether it is a terminal."""
        return getattr(self.raw, name)


def unguarded(stream: IO[str]) -> IO[str]:
    """The underlying stream, for text that is already printable."""
    while isinstance(stream, ForeignStream):
        stream = stream.raw
    return stream


def encoding_of(stream: IO[str]) -> str | None:
    """The encoding of a stream; None: any text is accepted."""
    found: str | None = getattr(stream, "encoding", None)
    return found


def guarded(stream: IO[str], put: Callable[[str], object] | None = None) -> IO[str]:
    """A `ForeignStream` around ``stream``."""
    return cast("IO[str]", ForeignStream(unguarded(stream), put))


def guard_streams() -> None:
    """Make everything that this process prints from now on printable."""
    sys.stdout = cast("Any", guarded(sys.stdout))
    sys.stderr = cast("Any", guarded(sys.stderr))


def printable_json(value: Any, encoding: str | None) -> str:
    """A JSON document with JSON escapes, so that it can be parsed back.

    Args:
        value: any value that `json.dumps` accepts.
        encoding: the encoding of the target stream.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    shown = _CONTROL.sub(lambda found: json.dumps(found[0])[1:-1], text)
    if encodable(shown, encoding) == shown:
        return shown
    return json.dumps(value, indent=2, allow_nan=False)
