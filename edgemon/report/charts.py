"""Charts as inline SVG, coloured by the page's style sheet: light and dark, no script.

Sizes are those of a phone's column, so that text keeps its size there; wider screens put charts side by side.
Every text goes through `text`, which spells out what cannot be printed and escapes what HTML would take.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import NamedTuple

from edgemon.cli._terminal import printable

WIDTH, HEIGHT = 360, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 10, 22
_MAX_TEXT = 200


class Curve(NamedTuple):
    """points: (x, y) in the chart's units, y None where the curve is broken.  style: a class of the page."""

    points: Sequence[tuple[float, float | None]]
    style: str
    steps: bool = False


def text(raw: object, most: int = _MAX_TEXT) -> str:
    """Escaped for HTML, of at most `most` characters: names come from applications."""
    shown = printable(str(raw))
    return escape(shown if len(shown) <= most else shown[: most - 1] + "…", quote=True)


def chart(
    curves: Iterable[Curve],
    x_span: tuple[float, float],
    y_top: float,
    *,
    title: str,
    y_text: Callable[[float], str],
    x_text: Callable[[float], str],
    y_low: float = 0.0,
    shaded: Iterable[tuple[float, float]] = (),
    mark: tuple[float, float, float] | None = None,
) -> str:
    """Curves over x_span, from y_low to y_top.  title: what a screen reader says.  shaded: spans of x.
    mark: a vertical line at x from y to y.
    """
    low, high = x_span
    if not high > low:
        low, high = low - 0.5, high + 0.5
    if not y_top > y_low:
        y_top = y_low + 1.0

    def x_of(x: float) -> float:
        # Halves, so that a range beyond the largest double does not overflow.
        share = (x / 2 - low / 2) / (high / 2 - low / 2)
        return _LEFT + min(1.0, max(0.0, share)) * (WIDTH - _LEFT - _RIGHT)

    def y_of(y: float) -> float:
        share = min(1.0, max(0.0, (y - y_low) / (y_top - y_low)))
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    parts = [_open(title)]
    for begin, end in shaded:
        x = x_of(begin)
        parts.append(
            f'<rect class="alarm" x="{x:.1f}" y="{_TOP}" width="{max(1.0, x_of(end) - x):.1f}"'
            f' height="{HEIGHT - _TOP - _BOTTOM}"/>'
        )
    for y in (y_low, (y_low + y_top) / 2, y_top):
        at = y_of(y)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" y1="{at:.1f}" x2="{WIDTH - _RIGHT}" y2="{at:.1f}"/>'
            f'<text x="{_LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{text(y_text(y))}</text>'
        )
    for x, anchor in ((low, "start"), (low / 2 + high / 2, "middle"), (high, "end")):
        parts.append(
            f'<text x="{x_of(x):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{text(x_text(x))}</text>'
        )
    for curve in curves:
        parts += _paths(curve, x_of, y_of)
    if mark is not None:
        x = x_of(mark[0])
        parts.append(
            f'<line class="mark" x1="{x:.1f}" y1="{y_of(mark[1]):.1f}" x2="{x:.1f}" y2="{y_of(mark[2]):.1f}"/>'
        )
    return "".join([*parts, "</svg>"])


def bars(
    groups: Sequence[tuple[str, Sequence[tuple[float, str]]]],
    y_top: float,
    *,
    title: str,
    y_text: Callable[[float], str],
    level: float | None = None,
) -> str:
    """Groups of bars: (label, [(height, style)]).  level: a line across, what is expected."""
    inside = WIDTH - _LEFT - _RIGHT
    floor = HEIGHT - _BOTTOM
    tall = HEIGHT - _TOP - _BOTTOM
    slot = inside / max(1, len(groups))
    parts = [_open(title)]
    for y in (0.0, y_top / 2, y_top):
        at = floor - tall * (y / y_top if y_top > 0 else 0.0)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" y1="{at:.1f}" x2="{WIDTH - _RIGHT}" y2="{at:.1f}"/>'
            f'<text x="{_LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{text(y_text(y))}</text>'
        )
    for index, (label, heights) in enumerate(groups):
        x = _LEFT + index * slot
        wide = 0.8 * slot / max(1, len(heights))
        for place, (value, style) in enumerate(heights):
            height = tall * min(1.0, max(0.0, value / y_top if y_top > 0 else 0.0))
            parts.append(
                f'<rect class="{style}" x="{x + 0.1 * slot + place * wide:.1f}" y="{floor - height:.1f}"'
                f' width="{max(1.0, wide - 0.5):.1f}" height="{height:.1f}"/>'
            )
        if label:
            parts.append(
                f'<text x="{x + slot / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">'
                f"{text(label, max(2, int(slot / 6.5)))}</text>"
            )
    if level is not None and y_top > 0:
        at = floor - tall * min(1.0, level / y_top)
        parts.append(
            f'<line class="limit" x1="{_LEFT}" y1="{at:.1f}" x2="{WIDTH - _RIGHT}" y2="{at:.1f}"/>'
        )
    return "".join([*parts, "</svg>"])


def nice_top(values: Iterable[float | None], least: float = 0.0) -> float:
    """1, 2, 2.5 or 5 times a power of ten, at or above all values and `least`."""
    most = max([least, *(value for value in values if value is not None)], default=0.0)
    if not 0.0 < most < 1e300:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(power * step for step in (1.0, 2.0, 2.5, 5.0, 10.0, 20.0) if power * step >= most)


def bytes_top(values: Iterable[float | None]) -> float:
    """The same of sizes in bytes: round in KiB, MiB or whatever fits."""
    most = max((value for value in values if value is not None), default=0.0)
    unit = 1024.0 ** max(0, math.floor(math.log(most, 1024))) if 1.0 <= most < 1e300 else 1.0
    return nice_top([most / unit]) * unit


def clock(ns: float, span_ns: float) -> str:
    """UTC, as fine as the span asks for."""
    form = "%H:%M:%S" if span_ns < 3600e9 else "%H:%M" if span_ns < 86_400e9 else "%d %b %H:%M"
    return date(ns, form if span_ns < 30 * 86_400e9 else "%Y-%m-%d")


def date(ns: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """UTC."""
    try:
        return time.strftime(form, time.gmtime(ns / 1e9))
    except (OverflowError, ValueError, OSError):
        return "?"


def _open(title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(title)}">'


def _paths(
    curve: Curve, x_of: Callable[[float], float], y_of: Callable[[float], float]
) -> Iterable[str]:
    """A path for each unbroken part; one point alone is a dot."""
    part: list[tuple[float, float]] = []
    for x, y in [*curve.points, (0.0, None)]:
        if y is not None:
            part.append((x_of(x), y_of(y)))
            continue
        if len(part) == 1:
            yield f'<circle class="{curve.style}" cx="{part[0][0]:.1f}" cy="{part[0][1]:.1f}" r="2"/>'
        elif part:
            path = f"M{part[0][0]:.1f} {part[0][1]:.1f}"
            for px, py in part[1:]:
                path += f"H{px:.1f}V{py:.1f}" if curve.steps else f"L{px:.1f} {py:.1f}"
            yield f'<path class="{curve.style}" d="{path}"/>'
        part = []


def cell(value: str, *, bad: bool = False) -> str:
    """A number in a table."""
    return f'<td class="n{" bad" if bad else ""}">{text(value)}</td>'


def percent(share: float) -> str:
    """A share in two or three digits."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"
