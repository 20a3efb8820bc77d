"""Unification of number notations: Unicode's, LaTeX's and Markdown's."""

from __future__ import annotations

import re
import unicodedata

# Minus signs and dashes, fraction slashes, spaces, and the full-width signs of East Asian text.
_SIGNS = str.maketrans(
    "\u2212\u2013\u2012\uff0d\u2044\u2215\u00d7\u00b7\uff0e\uff0c\uff0f\uff05\uff04\uffe5",
    "----//**.,/%$¥",
)
_SPACES = "\u00a0\u2009\u202f"
# Digit group separators of various locales.
_GROUPED = re.compile(rf"(?<=\d)[{_SPACES}'\u2019](?=\d{{3}}(?!\d))")
# Letters of scripts that put no space before a number: Thai to Khmer, Chinese, Japanese, Korean.
_UNSPACED = re.compile(
    r"(?<=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])(?=[\d$+.-])"
)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?: \d{3})+(?:\.\d+)?")
# Names of fonts and boxes around one group of braces.
_FRAME = re.compile(
    r"\\(?:boxed|fbox|text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|operatorname)\s*"
    r"\{((?:[^{}]|\{[^{}]*\})*)\}"
)
_TERM = r"(?:\s*\{\s*([+-]?[\d.,]+)\s*\}|\s*(\d))"
_FRACTION = re.compile(rf"(?P<before>\d)?\\[dtc]?frac{_TERM}{_TERM}")
_POWER = re.compile(r"(?<=\d)\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{([+-]?\d+)\}|([+-]?\d+))")
_GAPS = re.compile(r"\\[!,;: ]|\\(?:left|right|displaystyle)(?![a-zA-Z])")
_PAIRS = (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"), ("**", "**"), ("*", "*"),
          ("__", "__"), ("`", "`"))  # fmt: skip


def plain_numbers(text: str) -> str:
    """A text with its numbers in program notation; the rest may change too."""
    if not text.isascii():
        text = _UNSPACED.sub(" ", "".join(map(_plain, text)))
    text = _GROUPED.sub(",", text).translate({ord(space): " " for space in _SPACES})
    text = text.replace("{,}", ",").replace("\\$", "$").replace("\\%", "%")
    text = _GAPS.sub("", text)
    while (bare := _FRAME.sub(r"\1", text)) != text:
        text = bare
    text = _POWER.sub(lambda match: f"e{match[1] or match[2]}", _FRACTION.sub(_slashed, text))
    return re.sub(r"(?<=\d)\s+(?=\d+/)", " ", text).strip()


def unwrapped(text: str) -> str:
    """A text without enclosing signs of mathematics and emphasis."""
    text = text.strip()
    for opening, closing in _PAIRS:
        inside = len(opening) + len(closing)
        if len(text) > inside and text.startswith(opening) and text.endswith(closing):
            return unwrapped(text[len(opening) : -len(closing)])
    return text.replace(" ", "") if _THOUSANDS.fullmatch(text) else text


def _plain(character: str) -> str:
    if unicodedata.category(character) == "Cf":  # invisible
        return ""
    if unicodedata.decomposition(character).startswith("<fraction>"):
        return " " + unicodedata.normalize("NFKC", character).translate(_SIGNS)
    return character.translate(_SIGNS)


def _slashed(match: re.Match[str]) -> str:
    """A LaTeX fraction in plain notation; after a digit it is part of a mixed number."""
    _, top, digit, bottom, last = match.groups()
    before = f"{match['before']} " if match["before"] else ""
    return f"{before}{top or digit}/{bottom or last}"
