"""A small SVG: both distribution functions of each stream, and where they are furthest apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import accumulate

from edgemon.drift.compare import Comparison, Difference, NumericComparison, TextComparison
from edgemon.drift.profile import FeatureProfile, Profile

_WIDTH, _HEIGHT = 460, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 18, 52, 40
_COLUMNS = 2
_HEAD = 44
_MAX_STEPS = 300
_CATEGORIES = 6
_WAS, _NOW, _FAR = "#5b6b7b", "#0b6bcb", "#c62828"


def svg(
    reference: Profile, current: Profile, difference: Difference, titles: tuple[str, str]
) -> str:
    """The picture. titles: names of the two data sets."""
    panels = len(difference.of)
    rows = -(-panels // _COLUMNS)
    width = _COLUMNS * _WIDTH
    height = _HEAD + rows * _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _legend(titles),
    ]
    for i, one in enumerate(difference.of):
        x, y = i % _COLUMNS * _WIDTH, _HEAD + i // _COLUMNS * _HEIGHT
        parts.append(f'<g transform="translate({x},{y})">')
        a, b = reference.feature(one.stream), current.feature(one.stream)
        assert a is not None
        assert b is not None
        parts += _curves(one, a, b) if isinstance(one, NumericComparison) else _bars(one)
        parts.append("</g>")
    return "\n".join((*parts, "</svg>\n"))


def _legend(titles: tuple[str, str]) -> str:
    parts = []
    x = _LEFT
    for title, colour in zip(titles, (_WAS, _NOW), strict=True):
        shown = title if len(title) <= 48 else "…" + title[-47:]
        parts.append(
            f'<line x1="{x}" y1="24" x2="{x + 26}" y2="24" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{x + 34}" y="28">{escape(shown)}</text>'
        )
        x += 60 + 8 * len(shown)
    return "".join(parts)


def _title(stream: str, facts: str) -> str:
    shown = stream if len(stream) <= 40 else stream[:39] + "…"
    return (
        f'<text x="{_LEFT}" y="20" font-size="14" font-weight="bold">{escape(shown)}</text>'
        f'<text x="{_LEFT}" y="38" fill="#555">{escape(facts)}</text>'
    )


def _curves(one: NumericComparison, was: FeatureProfile, now: FeatureProfile) -> Iterator[str]:
    yield _title(
        one.stream,
        f"D = {one.d:.3f} {'' if one.direction == 'none' else one.direction}, p = {one.p:.2g}"
        + _holes(one),
    )
    low, high = _range(one, was, now)

    def x_of(value: float) -> float:
        # Halves, so that a range beyond the largest double does not overflow.
        share = (value / 2 - low / 2) / (high / 2 - low / 2)
        return _LEFT + min(1.0, max(0.0, share)) * (_WIDTH - _LEFT - _RIGHT)

    yield from _frame()
    for value, anchor in ((low, "start"), ((low / 2 + high / 2), "middle"), (high, "end")):
        yield (
            f'<text x="{x_of(value):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="{anchor}" '
            f'fill="#555">{value:.4g}</text>'
        )
    for feature, colour in ((was, _WAS), (now, _NOW)):
        points = " ".join(
            f"{x_of(value):.1f},{_y_of(share):.1f}" for value, share in _steps(feature, low, high)
        )
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
    if one.h and math.isfinite(one.at):
        x = x_of(one.at)
        ends = [_y_of(_share_at(feature, one.at)) for feature in (was, now)]
        # Between two reference values, or just before one, the distance may be larger than at it.
        before = [_y_of(_share_at(feature, one.at, before=True)) for feature in (was, now)]
        if abs(before[0] - before[1]) > abs(ends[0] - ends[1]):
            ends = before
        yield (
            f'<line x1="{x:.1f}" y1="{ends[0]:.1f}" x2="{x:.1f}" y2="{ends[1]:.1f}" '
            f'stroke="{_FAR}" stroke-width="3"/>'
        )
        # A distribution function leaves room below on its right, and above on its left.
        if x < 0.7 * _WIDTH:
            label_x, label_y, anchor = x + 8, max(ends) + 14, "start"
        else:
            label_x, label_y, anchor = x - 8, min(ends) - 6, "end"
        yield (
            f'<text x="{label_x:.1f}" y="{label_y:.1f}" fill="{_FAR}" text-anchor="{anchor}" '
            f'stroke="white" stroke-width="4" paint-order="stroke">D at {one.at:.4g}</text>'
        )


def _bars(one: TextComparison) -> Iterator[str]:
    yield _title(one.stream, f"TV = {one.d:.3f}, p = {one.p:.2g}" + _holes(one))
    yield from _frame()
    shown = one.moved[:_CATEGORIES]
    slot = (_WIDTH - _LEFT - _RIGHT) / max(1, len(shown))
    for i, (name, was, now) in enumerate(shown):
        x = _LEFT + i * slot
        for j, (share, colour) in enumerate(((was, _WAS), (now, _NOW))):
            yield (
                f'<rect x="{x + slot * (0.15 + 0.35 * j):.1f}" y="{_y_of(share):.1f}" '
                f'width="{0.33 * slot:.1f}" height="{_y_of(0.0) - _y_of(share):.1f}" '
                f'fill="{colour}"/>'
            )
        label = name if len(name) <= 10 else name[:9] + "…"
        yield (
            f'<text x="{x + slot / 2:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle" '
            f'fill="#555">{escape(label)}</text>'
        )


def _holes(one: Comparison) -> str:
    was, now, _ = one.missing
    return f", missing {was:.1%} -> {now:.1%}" if abs(now - was) >= 0.001 else ""


def _frame() -> Iterator[str]:
    for share in (0.0, 0.5, 1.0):
        y = _y_of(share)
        yield (
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{share:.0%}</text>'
        )


def _y_of(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _range(one: NumericComparison, was: FeatureProfile, now: FeatureProfile) -> tuple[float, float]:
    """What is shown: 99 % of both, and the place of D; finite, and never empty."""
    ends = [*was.quantiles((0.005, 0.995)), *now.quantiles((0.005, 0.995)), one.at]
    finite = [value for value in ends if math.isfinite(value)]
    if not finite:
        return -1.0, 1.0
    low, high = min(finite), max(finite)
    if low == high:
        width = abs(low) * 0.01 or 1.0
        return low - width, high + width
    margin = 0.02 * (high - low)
    return (low - margin, high + margin) if math.isfinite(margin) else (low, high)


def _steps(feature: FeatureProfile, low: float, high: float) -> list[tuple[float, float]]:
    """The distribution function's corners, thinned to some 300 steps."""
    m = feature.points
    points = [(low, _share_at(feature, low))]
    shown = points[0][1]
    for value, rank in zip(feature.values, accumulate(feature.counts), strict=True):
        if not low < value <= high:
            continue
        share = rank / m
        if share - shown >= 1.0 / _MAX_STEPS or rank == m:
            points += [(value, shown), (value, share)]
            shown = share
    return [*points, (high, shown)]


def _share_at(feature: FeatureProfile, x: float, *, before: bool = False) -> float:
    pairs: Sequence[tuple[float, int]] = list(zip(feature.values, feature.counts, strict=True))
    below = sum(count for value, count in pairs if value < x or (value == x and not before))
    return below / feature.points
