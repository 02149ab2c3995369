"""The report as one HTML file: a person reads it from the top and stops when they know enough."""

from __future__ import annotations

from collections.abc import Iterator

from edgemon.cli._terminal import counted, human_bytes, human_count, human_duration
from edgemon.report.charts import Curve, bytes_top, cell, chart, date, nice_top, percent, text
from edgemon.report.drawing import MAX_CHARTS, Drawing
from edgemon.report.figures import BUCKETS, Report, Series
from edgemon.report.page_model import ModelPart, fault_of, name_of, plain, why
from edgemon.report.standing import MAX_STANDING
from edgemon.report.style import STYLE

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
        self._drawing = Drawing(report)

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
            links = (f'<a href="#m{i}">{name_of(m)}</a>' for i, m in enumerate(of.models))
            yield f"<nav>{''.join(links)}</nav>"
        models = ModelPart(of, self._drawing)
        for index, model in enumerate(of.models):
            yield from models.parts(index, model)
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
        for one in of.standing[:MAX_STANDING]:
            where = f"{text(one.device)}: " if of.device_count > 1 else ""
            yield f'{where}<span class="bad">{text(one.message)}</span>, since {date(one.since_ns)} UTC'
        if (more := len(of.standing) - MAX_STANDING) > 0:
            yield f"and {human_count(more)} more rules, anomalies and models that do worse"
        for model in of.models:
            now = [stream for stream in model.streams if stream.drifted]
            past = [s for s in model.streams if s.drifted_buckets and not s.drifted]
            if now:
                names = ", ".join(f"{text(plain(s.name))} ({why(s)})" for s in now)
                yield f'<span class="bad">{name_of(model)} drifts</span>: {names}'
            if past:
                names = ", ".join(text(plain(stream.name)) for stream in past)
                yield f"{name_of(model)} drifted and is as before: {names}"
            for kind, name, since_ns in model.faults:
                yield f'<span class="bad">{name_of(model)}: {fault_of(kind, name)}</span>, since {date(since_ns)} UTC'
            if model.past_faults:
                over = ", ".join(fault_of(kind, name) for kind, name in model.past_faults)
                yield f"{name_of(model)} had faults of the data that are over: {over}"
            for stream in model.streams:
                bad = stream.missing + stream.nan + stream.wrong_type
                if bad > 0.01 * (stream.n + bad):
                    share = percent(bad / (stream.n + bad))
                    yield f"{name_of(model)}: {share} of {text(plain(stream.name))} is missing, NaN or of a wrong type"
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
        return self._drawing.over_time(
            title, curves, show, last, bytes_top if in_bytes else nice_top
        )

    def _below_zero(self, title: str, series: Series, note: str) -> str:
        values = [point.value for point in (*series.mean, *series.high) if point.value is not None]
        low = -nice_top([-value for value in values])
        return self._drawing.figure(
            title,
            lambda: chart(
                [Curve(self._drawing.xy(series.mean), "a")], self._drawing.span, nice_top(values), title=title,
                y_text=lambda y: f"{y:.4g}", x_text=self._drawing.clock, y_low=low,
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
        if self._drawing.dropped:
            left.append(f"{self._drawing.dropped} charts beyond the first {MAX_CHARTS}")
        if left:
            yield "<p>Left out, to keep the page small:</p><ul>"
            yield "".join(f"<li>{text(item)}</li>" for item in left) + "</ul>"
        yield "</body></html>\n"
