"""Numeric comparison of answers: ``29``, ``29.0`` and ``$29.00`` are equal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from luthier.evaluation.metrics.base import SHARE, Need, TextScore
from luthier.evaluation.metrics.notation import plain_numbers, unwrapped
from luthier.evaluation.metrics.options import text_metric
from luthier.records.evaluation import SampleRecord

_MOST_DIGITS = 400
_CURRENCY = r"[$€£¥₹]"
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d*)?|\.\d+)"
_POWER = r"(?:[eE][+-]?\d+)?"
_NUMBER = re.compile(
    rf"""(?:(?<![\w)])(?P<sign>[+-]))?(?:{_CURRENCY}\s?(?P<inner>-?))?
    (?:(?P<whole>\d+)\s(?P<part>\d+)/(?P<parts>\d+)
      |(?P<over>{_DECIMAL})\s?/\s?(?P<under>{_DECIMAL})
      |(?P<decimal>{_DECIMAL}{_POWER}))
    (?:\s?{_CURRENCY})?(?P<percent>\s?%)?""",
    re.VERBOSE,
)


class _Reading(NamedTuple):
    """The way numbers are found in a text.

    Attributes:
        take: ``whole``: the text is a number; ``last`` and ``first``: one of the numbers in it.
        units: ignore words and signs around the number, including a percent sign.
    """

    take: str
    units: bool


class Numeric(TextScore):
    """1 if the prediction is exactly the same number as a reference; see `number_in`.

    If a number is extracted from the prediction, one is also extracted from a reference that is
    more than a number, as in GSM8K's worked answers. A reference without a number is compared as
    text, ignoring surrounding white space.
    """

    needs = frozenset[Need]({"written answers"})
    bounds = SHARE

    def __init__(self, name: str, options: frozenset[str]) -> None:
        super().__init__(name)
        take = next((option for option in ("last", "first") if option in options), "whole")
        self._reading = _Reading(take, "units" in options)

    def score(self, prediction: str, references: Sequence[str], choices: Sequence[str]) -> float:
        """1 or 0."""
        return float(any(self._equal(prediction, reference) for reference in references))

    def described(self, references: Sequence[Sequence[str]]) -> str:
        """The extraction of numbers, and the treatment of several references."""
        del references
        units = "ignored" if self._reading.units else "refused"
        return f"{self.name}|number:{self._reading.take}|units:{units}|equal:exactly|refs:any"

    def _equal(self, prediction: str, reference: str) -> bool:
        wanted = self._wanted(reference)
        if wanted is None:
            return prediction.strip() == reference.strip()
        return number_in(prediction, self._reading.take, units=self._reading.units) == wanted

    def caveats(self, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
        """A caveat with the number of examples without a numeric reference."""
        lacking = sum(
            all(self._wanted(reference) is None for reference in sample.references)
            for sample in samples
        )
        if not lacking:
            return super().caveats(samples)
        return (
            f"{self.name}: the references of {lacking:,} of {len(samples):,} examples are not "
            "numbers, so they are compared as text",
            *super().caveats(samples),
        )

    def _wanted(self, reference: str) -> Fraction | None:
        whole = number_in(reference, "whole", units=self._reading.units)
        if whole is not None or self._reading.take == "whole":
            return whole
        return number_in(reference, self._reading.take, units=self._reading.units)


def number_in(text: str, take: str = "whole", *, units: bool = False) -> Fraction | None:
    """The exact number that a text is or contains.

    Supported are: digits, with commas, narrow spaces or apostrophes between groups of three; a
    decimal point; a sign, including the Unicode minus; a power of ten as in 1.5e3 and 1.5 × 10^3;
    fractions such as 1/2, 1 1/2, ½ and LaTeX's; a currency sign before or after; digits of any
    script. A percent sign makes hundredths: 50% is 0.5. Ignored are a full stop at the end of the
    text, a LaTeX box, enclosing signs of LaTeX and Markdown, and invisible characters.

    Args:
        text: any text.
        take: ``whole``, ``last`` or ``first``.
        units: ignore everything around the number, so that "29 apples" is 29, and 50% is 50.

    Returns:
        None if there is no number: in "about 29" without ``units``, in 1,23 and in 1/0.
    """
    text = plain_numbers(text)
    if take == "whole" and not units:
        inner = re.sub(r"^([+-])\s+", r"\1", unwrapped(text))
        match = _NUMBER.fullmatch(inner.removesuffix(".")) or _NUMBER.fullmatch(inner)
        return _value(match, units=units) if match else None
    values = [_value(match, units=units) for match in _matches(text)]
    if take == "whole":
        return values[0] if len(values) == 1 else None
    found = [value for value in values if value is not None]
    if not found:
        return None
    return found[-1] if take == "last" else found[0]


def _matches(text: str) -> list[re.Match[str]]:
    """Numbers that start and end with a run of digits, commas and points."""
    found: list[re.Match[str]] = []
    place = 0
    while match := _NUMBER.search(text, place):
        place = match.end()
        if _is_whole(text, match):
            found.append(match)
    return found


def _is_whole(text: str, match: re.Match[str]) -> bool:
    before, behind = text[: match.start()], text[match.end() :]
    if re.search(r"[\w.,/]$", before) and not match.group("sign"):
        # "x2", "1,2345" and "1.2.3" contain no intended number; nor does "is.5".
        return bool(re.search(r"[^\W\d_][.,]$", before))
    return not re.match(r"[.,/]?\d", behind)


def _value(match: re.Match[str], *, units: bool) -> Fraction | None:
    part = {name: text or "" for name, text in match.groupdict().items()}
    pairs = {
        "over": (part["over"], part["under"]),
        "whole": (part["part"], part["parts"]),
    }
    try:
        if part["decimal"]:
            value = _fraction(part["decimal"])
        else:
            top, bottom = next(pair for name, pair in pairs.items() if part[name])
            value = _fraction(top) / _fraction(bottom) + _fraction(part["whole"] or "0")
    except (ValueError, ZeroDivisionError):
        return None
    if part["percent"] and not units:
        value /= 100
    return -value if "-" in (part["sign"], part["inner"]) else value


def _fraction(text: str) -> Fraction:
    """A decimal number.

    Raises:
        ValueError: it is implausibly long; a power of ten would fill the memory.
    """
    digits, _, power = text.lower().partition("e")
    if len(digits) > _MOST_DIGITS or abs(int(power or "0")) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} characters")
    return Fraction(text.replace(",", "").rstrip(".") if not power else text.replace(",", ""))


numeric = text_metric("numeric", Numeric, options=("first", "last", "units"))
