"""Texts of the page can be read: contrast by WCAG 2.2, 1.4.3 (AA), on light and dark pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import luthier.reports

STYLE = (Path(luthier.reports.__file__).parent / "templates" / "report.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--(\w[\w-]*): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
)
TEXTS = {
    "ink": ("paper", "raised", "wash", "bar", "doubt"),
    "muted": ("paper", "raised", "wash"),
    "accent": ("paper", "raised", "wash"),
    "right": ("paper", "wash"),
    "wrong": ("paper", "wash"),
}


def luminance(colour: str) -> float:
    """Relative luminance, from 0 to 1, as WCAG defines it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_definition() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("page", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), [(t, g) for t, all_ in TEXTS.items() for g in all_])
def test_texts_have_enough_contrast(page: dict[str, str], text: str, ground: str) -> None:
    assert contrast(page[text], page[ground]) >= 4.5
