"""One model's part of a report's page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from edgemon.cli._terminal import counted, human_count
from edgemon.report.charts import Curve, bars, cell, chart, date, nice_top, percent, text
from edgemon.report.drawing import Drawing
from edgemon.report.figures import Model, Report, Stream, number
from edgemon.report.scores import performance

_MAX_CATEGORIES = 8
_BY = {
    "ks": "the distribution moved",
    "esr": "the distribution moved fast",
    "categories": "shares of categories moved",
}


class ModelPart:
    def __init__(self, report: Report, drawing: Drawing) -> None:
        self._of = report
        self._drawing = drawing

    def parts(self, index: int, model: Model) -> Iterator[str]:
        yield f'<h2 id="m{index}">{name_of(model)}</h2>'
        facts = f"{counted(model.predictions, 'prediction')}, {counted(model.devices, 'device')}"
        facts += f", last seen {date(model.last_ns)} UTC"
        yield f'<p class="soft">{text(facts)}</p><div class="charts">'
        yield self._drawing.over_time(
            "Predictions a second", [("rate", "a", model.rate)], lambda y: human_count(_round(y))
        )
        if model.p50:
            latencies = [("p50", "b", model.p50), ("p95", "a", model.p95), ("p99", "c", model.p99)]
            yield self._drawing.over_time("Latency", latencies, _seconds)
        yield "</div>"
        yield from performance(model.performance, self._drawing.over_time)
        tested = [s for s in model.streams if any(point.value is not None for point in s.drift)]
        if tested:
            yield "<h3>How far each stream is from its reference</h3>"
            yield (
                '<p class="soft">D is the largest distance between two distributions, 0 (equal) to 1. '
                "An alarm comes at the dashed line; while one lasts the background is red.</p>"
            )
            yield '<div class="charts">'
            for stream in tested:
                yield self._drift(stream)
            yield "</div>"
        pictures = [picture for stream in model.streams if (picture := self._distribution(stream))]
        if pictures:
            yield f'<h3>Reference against current</h3><div class="charts">{"".join(pictures)}</div>'
        if model.streams:
            yield "<h3>Data quality</h3>" + self._quality(model.streams)
        poor = [stream for stream in model.streams if any(point.value for point in stream.bad)]
        if poor:
            yield '<div class="charts">'
            for stream in poor:
                title = f"{plain(stream.name)}: missing, NaN or wrong type"
                yield self._drawing.over_time(title, [("share", "c", stream.bad)], percent)
            yield "</div>"

    def _drift(self, stream: Stream) -> str:
        half = self._of.width_ns / 2
        drifted = set(stream.drifted_buckets)
        shaded = []
        # Parts of the time of which nothing is known do not end an alarm.
        for was, run in groupby((p.bucket for p in stream.bad), key=drifted.__contains__):
            if was:
                buckets = list(run)
                first, last = self._of.time_ns(buckets[0]), self._of.time_ns(buckets[-1])
                shaded.append((first - half, last + half))
        top = nice_top([point.value for point in (*stream.drift, *stream.limit)], 0.1)
        name = plain(stream.name)
        return self._drawing.figure(
            name,
            lambda: chart(
                [Curve(self._drawing.xy(stream.limit), "limit"), Curve(self._drawing.xy(stream.drift), "a")],
                self._drawing.span, top, title=f"D of {name} over time", y_text=lambda y: f"{y:.3g}",
                x_text=self._drawing.clock, shaded=shaded,
            ),
            [("D", "a"), ("alarm", "limit")],
            f"drifted at the end: {why(stream)}" if stream.drifted else "",
        )  # fmt: skip

    def _distribution(self, stream: Stream) -> str:
        alarm = stream.alarm or {}
        curves = alarm.get("curves")
        if isinstance(curves, dict) and isinstance(curves.get("x"), list):
            return self._curves(stream, curves)
        moved = alarm.get("categories")
        if isinstance(moved, dict) and (picture := self._categories(stream, moved)):
            return picture
        if stream.hist and sum(stream.hist):
            return self._histogram(stream)
        if stream.categories:
            total = sum(stream.categories.values())
            most = sorted(stream.categories.items(), key=lambda item: -item[1])[:_MAX_CATEGORIES]
            shares = [(name, [(count / total, "a")]) for name, count in most]
            title = f"{plain(stream.name)}: shares of categories now"
            return self._bars(title, shares, [("now", "a")], "")
        return ""

    def _curves(self, stream: Stream, curves: dict[str, object]) -> str:
        alarm = stream.alarm or {}
        columns = [
            [number(value) for value in column] if isinstance(column, list) else []
            for column in (curves.get(name) for name in ("x", "reference", "current"))
        ]
        rows = [
            (x, was, now)
            for x, was, now in zip(*columns, strict=False)
            if x is not None and abs(x) < 1e300 and was is not None and now is not None
        ]
        if len(rows) < 2:
            return ""
        at = number(alarm.get("at"))
        here = next((row for row in rows if row[0] == at), None)
        title = f"{plain(stream.name)} at the alarm of {date(stream.alarm_ns, '%d %b %H:%M:%S')}"
        d = number(alarm.get("D"))
        n = number(alarm.get("n"))
        which = f" (current: the last {n:,.0f})" if n is not None else ""
        note = f"D = {d:.3f}" if d is not None else ""
        if here is not None:
            note += f" at {here[0]:.4g}: {percent(here[1])} of the reference lie at or below, now {percent(here[2])}"
        return self._drawing.figure(
            title,
            lambda: chart(
                [
                    Curve([(x, was) for x, was, _ in rows], "b"),
                    Curve([(x, now) for x, _, now in rows], "a"),
                ],
                (rows[0][0], rows[-1][0]), 1.0, title=title, y_text=percent, x_text=lambda x: f"{x:.4g}", mark=here,
            ),
            [("reference", "b"), ("current", "a"), ("D", "limit")],
            f"Share of values at or below each{which}. {note}",
        )  # fmt: skip

    def _categories(self, stream: Stream, moved: dict[str, object]) -> str:
        groups: list[tuple[str, Sequence[tuple[float, str]]]] = []
        for name, shares in list(moved.items())[:_MAX_CATEGORIES]:
            if (pair := _pair(shares)) is not None:
                groups.append((name, [(pair[0], "b"), (pair[1], "a")]))
        if not groups:
            return ""
        title = f"{plain(stream.name)} at the alarm of {date(stream.alarm_ns, '%d %b %H:%M:%S')}"
        return self._bars(
            title, groups, [("reference", "b"), ("current", "a")], "shares of categories"
        )

    def _histogram(self, stream: Stream) -> str:
        total = sum(stream.hist)
        shares = [("", [(count / total, "a")]) for count in stream.hist]
        return self._bars(
            f"{plain(stream.name)}: where the values lie now",
            shares,
            [("now", "a"), ("reference", "limit")],
            "from low to high; each bar is a part of the reference's range that held an equal share of it "
            "(unequal where values repeat often)",
            1 / len(stream.hist),
        )

    def _bars(
        self,
        title: str,
        groups: Sequence[tuple[str, Sequence[tuple[float, str]]]],
        keys: Sequence[tuple[str, str]],
        note: str,
        level: float | None = None,
    ) -> str:
        top = nice_top([value for _, heights in groups for value, _ in heights], level or 0.0)
        return self._drawing.figure(
            title,
            lambda: bars(groups, min(1.0, top), title=title, y_text=percent, level=level),
            keys,
            note,
        )

    def _quality(self, streams: Sequence[Stream]) -> str:
        rows = []
        for stream in streams:
            all_ = stream.n + stream.missing + stream.nan + stream.infinite + stream.wrong_type
            cells = [f"<td>{text(plain(stream.name))}</td>", cell(human_count(stream.n))]
            for count in (stream.missing, stream.nan, stream.infinite, stream.wrong_type):
                share = count / max(1, all_)
                cells.append(cell(percent(share) if count else "0", bad=share > 0.01))
            cells += [
                cell(f"{value:.4g}" if value is not None else "")
                for value in (stream.low, stream.mean, stream.high)
            ]
            rows.append(f"<tr>{''.join(cells)}</tr>")
        heads = ("values", "missing", "NaN", "±inf", "wrong type", "smallest", "mean", "largest")
        head = "".join(f'<th class="n">{name}</th>' for name in heads)
        body = "".join(rows)
        return f'<div class="scroll"><table><tr><th>stream</th>{head}</tr>{body}</table></div>'


def name_of(model: Model) -> str:
    return text(f"{model.model} {model.version}".strip())


def plain(stream: str) -> str:
    return stream.removeprefix("f:")


def fault_of(kind: str, stream: str) -> str:
    return f"{text(plain(stream))} {text(kind.replace('_', ' '))}".strip()


def why(stream: Stream) -> str:
    by = (stream.alarm or {}).get("by")
    return _BY.get(by if isinstance(by, str) else "", "an alarm is on")


def _pair(shares: object) -> tuple[float, float] | None:
    """(share in the reference, share now) of an event's category; None where it is none."""
    if not isinstance(shares, list) or len(shares) != 2:
        return None
    was, now = map(number, shares)
    return (was, now) if was is not None and now is not None else None


def _seconds(value: float) -> str:
    if 0 < value < 0.001:
        return f"{value * 1e6:.3g}µs"
    return f"{value * 1000:.3g}ms" if value < 1 else f"{value:.3g}s"


def _round(value: float) -> float:
    return round(value, 2) if value < 10 else round(value)
