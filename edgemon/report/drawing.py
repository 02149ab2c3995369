"""The charts of a report's page: over its time, each a figure, of all at most MAX_CHARTS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

from edgemon.report import charts
from edgemon.report.charts import Curve, chart, nice_top, text
from edgemon.report.figures import Point, Report

# All charts of a page; the rest is named as left out. Each takes 3 to 8 KB.
MAX_CHARTS = 400


class Drawing:
    """span: the report's time.  dropped: charts beyond the most, which are not there."""

    def __init__(self, report: Report) -> None:
        self._of = report
        self.span = (float(report.first_ns), float(report.last_ns))
        self.dropped = 0
        self._charts = 0

    def figure(
        self, title: str, draw: Callable[[], str], keys: Sequence[tuple[str, str]], note: str
    ) -> str:
        """draw: makes the chart.  keys: (name, style) of its curves.  note: below it."""
        if self._charts >= MAX_CHARTS:
            self.dropped += 1
            return ""
        self._charts += 1
        legend = "".join(f'<span class="key {style}"><i></i>{name}</span>' for name, style in keys)
        caption = f"<figcaption>{legend}{text(note)}</figcaption>" if legend or note else ""
        return f"<figure><h3>{text(title)}</h3>{draw()}{caption}</figure>"

    def over_time(
        self,
        title: str,
        curves: Sequence[tuple[str, str, Sequence[Point]]],
        y_text: Callable[[float], str],
        note: str = "",
        top_of: Callable[[list[float | None]], float] = nice_top,
    ) -> str:
        """curves: (name, style, points).  y_text: a value at the axis.  top_of: where the axis ends."""
        top = top_of([point.value for _, _, points in curves for point in points])
        drawn = [Curve(self.xy(points), style) for _, style, points in curves]
        keys = [(name, style) for name, style, _ in curves] if len(curves) > 1 else []
        return self.figure(
            title,
            lambda: chart(drawn, self.span, top, title=title, y_text=y_text, x_text=self.clock),
            keys,
            note,
        )

    def clock(self, ns: float) -> str:
        return charts.clock(ns, self.span[1] - self.span[0])

    def xy(self, points: Sequence[Point]) -> list[tuple[float, float | None]]:
        """With a break where nothing came for longer than is usual."""
        steps = [b.bucket - a.bucket for a, b in pairwise(points)]
        usual = 3 * median(steps) if steps else 0
        found: list[tuple[float, float | None]] = []
        before = None
        for point in points:
            at = self._of.time_ns(point.bucket)
            if before is not None and point.bucket - before > max(3, usual):
                found.append((at, None))
            found.append((at, point.value))
            before = point.bucket
        return found
