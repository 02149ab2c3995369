"""The report as one HTML file: a person reads it from the top and stops when they know enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from statistics import median

from edgemon.cli._terminal import counted, human_bytes, human_count, human_duration
from edgemon.report import charts
from edgemon.report.charts import (
    Curve,
    bars,
    bytes_top,
    cell,
    chart,
    date,
    nice_top,
    percent,
    text,
)
from edgemon.report.figures import BUCKETS, Model, Point, Report, Series, Stream, number
from edgemon.report.scores import performance
from edgemon.report.standing import MAX_STANDING
from edgemon.report.style import STYLE

# All charts of a page; the rest is named as left out. Each takes 3 to 8 KB.
MAX_CHARTS = 400
_MAX_CATEGORIES = 8
_BY = {
    "ks": "the distribution moved",
    "esr": "the distribution moved fast",
    "categories": "shares of categories moved",
}
# How a series' name may end, and what it says then.
_UNITS = {
    "percent": "%",
    "celsius": "°C",
    "bytes_per_s": "bytes a second",
    "bytes": "bytes",
    "per_s": "a second",
    "seconds": "s",
    "watts": "W",
}

_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    # No script runs and nothing is fetched, whatever a name in the data says.
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)


def html(report: Report, source: str, made_ns: int) -> str:
    """The file. source: what it was made from, as the user named it.  made_ns: now."""
    return "".join(_Page(report).parts(source, made_ns))


class _Page:
    def __init__(self, report: Report) -> None:
        self._of = report
        self._span = (float(report.first_ns), float(report.last_ns))
        self._charts = 0
        self._dropped = 0

    def parts(self, source: str, made_ns: int) -> Iterator[str]:
        of = self._of
        yield f"{_HEAD}<title>edgemon report: {text(source)}</title><style>{STYLE}</style></head><body>"
        yield "<h1>What the models and devices did</h1>"
        if not of.batches:
            yield f"<p>There is nothing in {text(source)} yet, or nothing of this choice.</p></body></html>\n"
            return
        lasted = human_duration((of.last_ns - of.first_ns) / 1e9)
        yield (
            f'<p class="soft">{text(date(of.first_ns))} to {text(date(of.last_ns))} UTC ({lasted}), from '
            f"{text(source)}; made {text(date(made_ns))} UTC by edgemon.</p>"
        )
        yield from self._tiles()
        yield "<h2>What stands out</h2>"
        findings = list(self._findings())
        if findings:
            yield "<ul>" + "".join(f"<li>{finding}</li>" for finding in findings) + "</ul>"
        else:
            yield '<p><span class="ok">Nothing.</span> No drift, no lost data, no alarm.</p>'
        if len(of.models) > 1:
            links = (f'<a href="#m{i}">{_name(m)}</a>' for i, m in enumerate(of.models))
            yield f"<nav>{''.join(links)}</nav>"
        for index, model in enumerate(of.models):
            yield from self._model(index, model)
        yield from self._devices()
        yield from self._events()
        yield from self._losses()
        yield from self._ending()

    def _tiles(self) -> Iterator[str]:
        of = self._of
        alarms = sum(stream.drifted for model in of.models for stream in model.streams)
        lost = of.gap_batches + sum(row[3] for row in of.reported)
        yield '<div class="tiles">'
        for value, label, bad in (
            (human_count(sum(model.predictions for model in of.models)), "predictions", False),
            (
                human_count(len(of.models)),
                "model" if len(of.models) == 1 else "models and versions",
                False,
            ),
            (human_count(of.device_count), "device" if of.device_count == 1 else "devices", False),
            (
                human_count(alarms),
                f"stream{'' if alarms == 1 else 's'} drifted at the end",
                alarms > 0,
            ),
            (human_count(lost), f"batch{'' if lost == 1 else 'es'} missing or lost", lost > 0),
            (human_bytes(of.frame_bytes), f"in {counted(of.batches, 'batch', 'batches')}", False),
        ):
            yield f'<div class="tile"><b{" class=bad" if bad else ""}>{value}</b>{label}</div>'
        yield "</div>"

    def _findings(self) -> Iterator[str]:
        of = self._of
        for model in of.models:
            if since_ns := model.performance.down_ns:
                yield f'<span class="bad">{_name(model)} does worse than before</span>, since {date(since_ns)} UTC'
            now = [stream for stream in model.streams if stream.drifted]
            past = [s for s in model.streams if s.drifted_buckets and not s.drifted]
            if now:
                names = ", ".join(f"{text(_plain(s.name))} ({_why(s)})" for s in now)
                yield f'<span class="bad">{_name(model)} drifts</span>: {names}'
            if past:
                names = ", ".join(text(_plain(stream.name)) for stream in past)
                yield f"{_name(model)} drifted and is as before: {names}"
            for kind, name, since_ns in model.faults:
                yield f'<span class="bad">{_name(model)}: {_fault(kind, name)}</span>, since {date(since_ns)} UTC'
            if model.past_faults:
                over = ", ".join(_fault(kind, name) for kind, name in model.past_faults)
                yield f"{_name(model)} had faults of the data that are over: {over}"
            for stream in model.streams:
                bad = stream.missing + stream.nan + stream.wrong_type
                if bad > 0.01 * (stream.n + bad):
                    share = percent(bad / (stream.n + bad))
                    yield f"{_name(model)}: {share} of {text(_plain(stream.name))} is missing, NaN or of a wrong type"
        for one in of.standing[:MAX_STANDING]:
            where = f"{text(one.device)}: " if of.device_count > 1 else ""
            yield f'{where}<span class="bad">{text(one.message)}</span>, since {date(one.since_ns)} UTC'
        if (more := len(of.standing) - MAX_STANDING) > 0:
            yield f"{counted(more, 'rule or anomaly', 'rules and anomalies')} more"
        if of.gap_batches:
            missing = counted(of.gap_batches, "batch", "batches")
            yield f'<span class="bad">{missing} missing</span>: on their way, or lost'
        if of.reported:
            lost = counted(sum(row[3] for row in of.reported), "batch", "batches")
            yield f'<span class="bad">{lost} lost</span> on devices, which say why: below'
        offline = [name for _, name, online, _ in of.devices if online == 0]
        if offline:
            shown = ", ".join(map(text, offline[:8])) + (" …" if len(offline) > 8 else "")
            yield f"{counted(len(offline), 'device')} offline: {shown}"

    # -- one model

    def _model(self, index: int, model: Model) -> Iterator[str]:
        yield f'<h2 id="m{index}">{_name(model)}</h2>'
        facts = f"{counted(model.predictions, 'prediction')}, {counted(model.devices, 'device')}"
        facts += f", last seen {date(model.last_ns)} UTC"
        yield f'<p class="soft">{text(facts)}</p><div class="charts">'
        yield self._over_time(
            "Predictions a second", [("rate", "a", model.rate)], lambda y: human_count(_round(y))
        )
        if model.p50:
            latencies = [("p50", "b", model.p50), ("p95", "a", model.p95), ("p99", "c", model.p99)]
            yield self._over_time("Latency", latencies, _seconds)
        yield "</div>"
        yield from performance(model.performance, self._over_time)
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
                title = f"{_plain(stream.name)}: missing, NaN or wrong type"
                yield self._over_time(title, [("share", "c", stream.bad)], percent)
            yield "</div>"

    def _over_time(
        self,
        title: str,
        curves: Sequence[tuple[str, str, Sequence[Point]]],
        y_text: Callable[[float], str],
        note: str = "",
        top_of: Callable[[list[float | None]], float] = nice_top,
    ) -> str:
        top = top_of([point.value for _, _, points in curves for point in points])
        drawn = [Curve(self._xy(points), style) for _, style, points in curves]
        keys = [(name, style) for name, style, _ in curves] if len(curves) > 1 else []
        return self._figure(
            title,
            lambda: chart(drawn, self._span, top, title=title, y_text=y_text, x_text=self._clock),
            keys,
            note,
        )

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
        name = _plain(stream.name)
        return self._figure(
            name,
            lambda: chart(
                [Curve(self._xy(stream.limit), "limit"), Curve(self._xy(stream.drift), "a")],
                self._span, top, title=f"D of {name} over time", y_text=lambda y: f"{y:.3g}",
                x_text=self._clock, shaded=shaded,
            ),
            [("D", "a"), ("alarm", "limit")],
            f"drifted at the end: {_why(stream)}" if stream.drifted else "",
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
            title = f"{_plain(stream.name)}: shares of categories now"
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
        title = f"{_plain(stream.name)} at the alarm of {date(stream.alarm_ns, '%d %b %H:%M:%S')}"
        d = number(alarm.get("D"))
        n = number(alarm.get("n"))
        which = f" (current: the last {n:,.0f})" if n is not None else ""
        note = f"D = {d:.3f}" if d is not None else ""
        if here is not None:
            note += f" at {here[0]:.4g}: {percent(here[1])} of the reference lie at or below, now {percent(here[2])}"
        return self._figure(
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
        title = f"{_plain(stream.name)} at the alarm of {date(stream.alarm_ns, '%d %b %H:%M:%S')}"
        return self._bars(
            title, groups, [("reference", "b"), ("current", "a")], "shares of categories"
        )

    def _histogram(self, stream: Stream) -> str:
        total = sum(stream.hist)
        shares = [("", [(count / total, "a")]) for count in stream.hist]
        return self._bars(
            f"{_plain(stream.name)}: where the values lie now",
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
        return self._figure(
            title,
            lambda: bars(groups, min(1.0, top), title=title, y_text=percent, level=level),
            keys,
            note,
        )

    def _quality(self, streams: Sequence[Stream]) -> str:
        rows = []
        for stream in streams:
            all_ = stream.n + stream.missing + stream.nan + stream.infinite + stream.wrong_type
            cells = [f"<td>{text(_plain(stream.name))}</td>", cell(human_count(stream.n))]
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

    # -- the rest

    def _devices(self) -> Iterator[str]:
        of = self._of
        yield "<h2>Devices</h2>"
        yield '<div class="scroll"><table><tr><th>fleet</th><th>device</th><th>state</th><th>last seen (UTC)</th></tr>'
        for fleet, name, online, seen in of.devices:
            state = {1: "online", 0: '<span class="bad">offline</span>'}.get(online or 0, "")
            state = "not known" if online is None else state
            when = date(seen) if seen else ""
            yield f"<tr><td>{text(fleet)}</td><td>{text(name)}</td><td>{state}</td><td class=t>{when}</td></tr>"
        yield "</table></div>"
        names = {series.device for series in of.series}
        for device in sorted(names):
            yield f"<h3>{text(device)}</h3>" if len(names) > 1 else ""
            yield '<div class="charts">'
            for series in of.series:
                if series.device == device:
                    yield self._series(series)
            yield "</div>"

    def _series(self, series: Series) -> str:
        name, _, process = series.name.partition(".")  # process_cpu_percent.<name>
        suffix = next((known for known in _UNITS if name.endswith(f"_{known}")), "")
        words = name.removesuffix(f"_{suffix}").replace("_", " ") + (
            f" of {process}" if process else ""
        )
        title = f"{words} ({_UNITS[suffix]})" if suffix else words
        in_bytes = suffix.startswith("bytes")
        show = human_bytes if in_bytes else lambda y: f"{y:.4g}"
        curves = [("largest", "b", series.high), ("mean", "a", series.mean)]
        last = f"last {show(series.last)}" if series.last is not None else ""
        values = [point.value for point in series.mean if point.value is not None]
        if values and min(values) < 0:
            return self._below_zero(title, series, last)
        return self._over_time(title, curves, show, last, bytes_top if in_bytes else nice_top)

    def _below_zero(self, title: str, series: Series, note: str) -> str:
        values = [point.value for point in (*series.mean, *series.high) if point.value is not None]
        low = -nice_top([-value for value in values])
        return self._figure(
            title,
            lambda: chart(
                [Curve(self._xy(series.mean), "a")], self._span, nice_top(values), title=title,
                y_text=lambda y: f"{y:.4g}", x_text=self._clock, y_low=low,
            ),
            [],
            note,
        )  # fmt: skip

    def _events(self) -> Iterator[str]:
        of = self._of
        yield "<h2>Events</h2>"
        if not of.events:
            yield "<p>None.</p>"
            return
        if of.event_count > len(of.events):
            yield f'<p class="soft">The latest {len(of.events)} of {human_count(of.event_count)}.</p>'
        yield '<div class="scroll"><table><tr><th>time (UTC)</th><th>severity</th><th>what</th><th>device</th>'
        yield "<th>model</th><th>message</th></tr>"
        for at, severity, kind, device, model, version, _, message in of.events:
            bad = ' class="bad"' if severity == "alarm" else ""
            yield (
                f'<tr><td class="t">{date(at)}</td><td{bad}>{text(severity)}</td><td>{text(kind)}</td>'
                f"<td>{text(device)}</td><td>{text(f'{model} {version}'.strip())}</td>"
                f'<td class="m">{text(message, 500)}</td></tr>'
            )
        yield "</table></div>"

    def _losses(self) -> Iterator[str]:
        of = self._of
        yield "<h2>Gaps and losses</h2>"
        if not of.gaps and not of.reported:
            yield '<p><span class="ok">None.</span> Every number that a device gave to a batch is here.</p>'
            return
        if of.gaps:
            yield "<p>Batches that are neither here nor reported as lost: they are on their way, or lost.</p>"
            yield '<div class="scroll"><table><tr><th>device</th><th>kind</th><th>numbers</th>'
            yield '<th class="n">batches</th></tr>'
            for device, kind, first, last, count in of.gaps:
                numbers = f"{first}" if first == last else f"{first} to {last}"
                names = f"<td>{text(device)}</td><td>{text(kind)}</td><td>{numbers}</td>"
                yield f"<tr>{names}{cell(human_count(count))}</tr>"
            yield "</table></div>"
        if of.reported:
            yield "<p>Batches of which the device says that they never come:</p>"
            yield '<div class="scroll"><table><tr><th>device</th><th>kind</th><th>reason</th>'
            yield '<th class="n">batches</th><th class="n">rows</th></tr>'
            for device, kind, reason, batches, rows in of.reported:
                yield f"<tr><td>{text(device)}</td><td>{text(kind)}</td><td>{text(reason or '')}</td>"
                yield f"{cell(human_count(batches or 0))}{cell(human_count(rows or 0))}</tr>"
            yield "</table></div>"

    def _ending(self) -> Iterator[str]:
        each = human_duration(self._of.width_ns / 1e9)
        yield (
            f'<h2>How this page was made</h2><p class="soft">Curves have at most {BUCKETS} points, one for {each}: '
            "the rows between are joined. Of rates it is the mean, of D and p95 and p99 the largest, of p50 the "
            "mean by count. Several devices of a model are shown together. Times are UTC.</p>"
        )
        left = list(self._of.left_out)
        if self._dropped:
            left.append(f"{self._dropped} charts beyond the first {MAX_CHARTS}")
        if left:
            yield "<p>Left out, to keep the page small:</p><ul>"
            yield "".join(f"<li>{text(item)}</li>" for item in left) + "</ul>"
        yield "</body></html>\n"

    # -- small things

    def _figure(
        self, title: str, draw: Callable[[], str], keys: Sequence[tuple[str, str]], note: str
    ) -> str:
        if self._charts >= MAX_CHARTS:
            self._dropped += 1
            return ""
        self._charts += 1
        legend = "".join(f'<span class="key {style}"><i></i>{name}</span>' for name, style in keys)
        caption = f"<figcaption>{legend}{text(note)}</figcaption>" if legend or note else ""
        return f"<figure><h3>{text(title)}</h3>{draw()}{caption}</figure>"

    def _clock(self, ns: float) -> str:
        return charts.clock(ns, self._span[1] - self._span[0])

    def _xy(self, points: Sequence[Point]) -> list[tuple[float, float | None]]:
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


def _name(model: Model) -> str:
    return text(f"{model.model} {model.version}".strip())


def _plain(stream: str) -> str:
    return stream.removeprefix("f:")


def _fault(kind: str, stream: str) -> str:
    return f"{text(_plain(stream))} {text(kind.replace('_', ' '))}".strip()


def _why(stream: Stream) -> str:
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
