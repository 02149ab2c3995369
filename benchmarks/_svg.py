"""Line charts as SVG text, for the documentation: axes, ticks, lines, a legend, nothing else."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 430
LEFT, RIGHT, TOP, BOTTOM = 104, 232, 50, 58
# Okabe and Ito's colours, which most colour-blind readers can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#8b5a2b")


class Series(NamedTuple):
    """One line. points: by x.  step: y holds until the next point.  ours: drawn thicker."""

    name: str
    points: Sequence[tuple[float, float]]
    step: bool = False
    dashed: bool = False
    ours: bool = False


class Axis(NamedTuple):
    """low, high: both inside the chart; above 0 for a logarithm.  percent: numbers are shares."""

    label: str
    low: float
    high: float
    log: bool = False
    percent: bool = False

    def place(self, value: float) -> float:
        """0 at low, 1 at high; what lies outside is put at the end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        if not self.log:
            raw = (self.high - self.low) / 5.0
            unit = 10.0 ** math.floor(math.log10(raw))
            step = next(unit * k for k in (1.0, 2.0, 2.5, 5.0, 10.0) if unit * k >= raw * 0.999)
            first = math.ceil(self.low / step - 1e-9)
            return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]
        decades = math.log10(self.high / self.low)
        multiples = (1.0,) if decades > 2.99 else (1.0, 2.0, 5.0)
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        every = [k * 10.0**e for e in range(first, last + 1) for k in multiples]
        return [t for t in every if self.low * 0.999 <= t <= self.high * 1.001]

    def text(self, value: float) -> str:
        if self.percent:
            return f"{100 * value:g} %"
        if value >= 1e6:
            return f"{value / 1e6:g} million"
        return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """The whole SVG document."""

    def px(value: float) -> float:
        return LEFT + x.place(value) * (WIDTH - LEFT - RIGHT)

    def py(value: float) -> float:
        return HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM)

    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
        f' height="{HEIGHT}" font-family="system-ui, -apple-system, Helvetica, Arial, sans-serif"'
        ' font-size="13" fill="#222">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="26" font-size="15" font-weight="600">{escape(title)}</text>',
    ]
    for tick in x.ticks():
        at = px(tick)
        parts.append(f'<path d="M{at:.1f} {TOP}V{bottom}" stroke="#e4e4e4"/>')
        parts.append(
            f'<text x="{at:.1f}" y="{bottom + 20}" text-anchor="middle">{x.text(tick)}</text>'
        )
    for tick in y.ticks():
        at = py(tick)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{right}" stroke="#e4e4e4"/>')
        parts.append(
            f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{y.text(tick)}</text>'
        )
    parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#777"/>')
    middle = (LEFT + right) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 14}" text-anchor="middle">{escape(x.label)}</text>'
    )
    centre = (TOP + bottom) / 2
    parts.append(
        f'<text transform="translate(18 {centre}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>'
    )
    for i, one in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        style = f'fill="none" stroke="{colour}" stroke-width="{3 if one.ours else 1.8}"'
        style += ' stroke-dasharray="6 4"' if one.dashed else ""
        path = ""
        for a, b in one.points:
            if path and one.step:
                path += f"H{px(a):.1f}V{py(b):.1f}"
            else:
                path += f"{'L' if path else 'M'}{px(a):.1f} {py(b):.1f}"
        parts.append(f'<path d="{path}" {style} stroke-linejoin="round"/>')
        if not one.step:
            parts += [
                f'<circle cx="{px(a):.1f}" cy="{py(b):.1f}" r="{3.4 if one.ours else 2.6}" fill="{colour}"/>'
                for a, b in one.points
            ]
        top = TOP + 8 + 22 * i
        weight = ' font-weight="600"' if one.ours else ""
        parts.append(f'<path d="M{right + 16} {top}h24" {style}/>')
        parts.append(f'<text x="{right + 46}" y="{top + 4}"{weight}>{escape(one.name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def save(name: str, document: str) -> None:
    """Into the folder that EDGEMON_FIGURES names, if it names one."""
    folder = os.environ.get("EDGEMON_FIGURES")
    if folder:
        path = Path(folder) / f"{name}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document, encoding="utf-8")
        print(f"\n({path} written)")
