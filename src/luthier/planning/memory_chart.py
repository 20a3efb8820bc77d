"""A stacked bar of memory by component, for the terminal and as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import accumulate, cycle

from luthier.core.terminal import printable
from luthier.core.units import format_bytes

# Okabe and Ito's palette, distinguishable with any colour vision.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
_BLOCKS = "█▓▒░▚▞▤▥"


def text_bar(parts: Mapping[str, int], limit: int, width: int = 60) -> str:
    """A bar of ``width`` characters for ``limit`` bytes; any excess follows a mark.

    Args:
        parts: bytes by name.
        limit: available bytes.
        width: characters for the limit.
    """
    signs = ""
    ends = accumulate(size for _, size in _shown(parts))
    for block, end in zip(cycle(_BLOCKS), ends, strict=False):
        signs += block * max(0, min(round(end / limit * width), width + 8) - len(signs))
    inside, over = signs[:width], signs[width:]
    return f"▕{inside:<{width}}▏{over}"


def legend(parts: Mapping[str, int]) -> list[str]:
    """A line for each component with its symbol, the largest first."""
    return [
        f"{_BLOCKS[index % len(_BLOCKS)]} {name:<16}{format_bytes(size):>10}"
        for index, (name, size) in enumerate(_shown(parts))
    ]


def svg_bar(title: str, answer: str, parts: Mapping[str, int], limit: int) -> str:
    """The bar as an SVG document, with a title and the verdict above it."""
    title, answer = printable(title), printable(answer)
    shown, width, height = _shown(parts), 720, 40
    total = max(sum(size for _, size in shown), limit)
    x, pieces = 20.0, []
    for index, (name, size) in enumerate(shown):
        wide = size / total * (width - 40)
        colour = _COLOURS[index % len(_COLOURS)]
        pieces.append(
            f'<rect x="{x:.1f}" y="46" width="{wide:.1f}" height="{height}" fill="{colour}">'
            f"<title>{escape(name)}: {format_bytes(size)}</title></rect>"
        )
        column, row = index % 3, index // 3
        left, top = 20 + column * 230, 124 + row * 22
        pieces.append(
            f'<rect x="{left}" y="{top - 11}" width="12" height="12" fill="{colour}"/>'
            f'<text x="{left + 18}" y="{top}">{escape(name)} {format_bytes(size)}</text>'
        )
        x += wide
    edge = 20 + limit / total * (width - 40)
    tall = 136 + 22 * ((len(shown) + 2) // 3)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {tall}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">'
        f"<title>{escape(title)}</title>"
        f'<rect width="{width}" height="{tall}" fill="#ffffff"/>'
        f'<text x="20" y="18" font-size="15" font-weight="600">{escape(title)}</text>'
        f'<text x="20" y="35" font-size="12">{escape(answer)}</text>'
        + "".join(pieces)
        + f'<line x1="{edge:.1f}" x2="{edge:.1f}" y1="42" y2="92" stroke="#000000" '
        f'stroke-width="2" stroke-dasharray="4 3"/>'
        f'<text x="{edge - 4:.1f}" y="104" text-anchor="end" font-size="11">'
        f"{format_bytes(limit)} available</text></svg>\n"
    )


def _shown(parts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The components that are not empty, the largest first."""
    return sorted(((printable(n), v) for n, v in parts.items() if v), key=lambda item: -item[1])
