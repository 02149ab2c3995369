"""What `edgemon top` draws: a page of lines from status objects. Pure: no clock, no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from edgemon.cli import _performance, _quality
from edgemon.cli._lines import BLOCKS, Line, Piece, both_ends, cut, fit, scaled, sparkline, wrapped
from edgemon.cli._terminal import counted, human_bytes, human_count, human_duration, printable
from edgemon.cli._top_seen import KEPT, Seen, closeness, stream_key
from edgemon.cli.status import ship_line, spool_line, troubles

_SILENT_S = 60.0
_LATENCIES = ("p50", "p95", "p99")
# Who raised an alarm, in words.
_BY = {
    "ks": "distribution",
    "esr": "fast change",
    "new": "new categories",
}


def page(
    seen: Seen, width: int, height: int | None, now_s: float, blocks: str = BLOCKS
) -> list[Line]:
    """At most `height` lines of at most `width` columns; height: None is as many as there are."""
    if seen.agent is None:
        lines = [
            [Piece("edgemon top", "bold")],
            [Piece("No agent answers.", "bad")],
            *([Piece(part)] for part in wrapped(seen.problem, width)),
        ]
        return [cut(line, width) for line in lines][:height]
    head = _head(seen, seen.agent, width, now_s, blocks)
    foot = _foot(seen)
    room = None if height is None else max(0, height - len(head) - len(foot))
    lines = [*head, *_body(seen, seen.agent, width, room, blocks)]
    if height is not None:
        lines = lines[: max(0, height - len(foot))]
        lines += [[]] * (height - len(foot) - len(lines))
        lines = (lines + foot)[:height]
    else:
        lines += foot
    return [cut(line, width) for line in lines]


def verdict(agent: dict[str, Any], ship: dict[str, Any] | None) -> list[Piece]:
    """All that is wrong now, the worst first; empty when all is well."""
    wrong = []
    if agent["spool"]["failure"]:
        wrong.append(Piece("the disk does not write", "bad"))
    if agent["spool"]["held_back"]:
        wrong.append(Piece("the spool is full, applications wait", "bad"))
    if drifted := sum(len(model["drifted"]) for model in agent["models"]):
        wrong.append(Piece(f"{counted(drifted, 'stream')} drifted", "bad"))
    for model in agent["models"]:
        name = printable(model["model"])
        wrong += [Piece(f"{name}: {said}", "bad") for said in _performance.alarms(model)]
        if faults := _quality.faults(model):
            said = faults[0] if len(faults) == 1 else f"{len(faults)} faults of the data"
            wrong.append(Piece(f"{name}: {printable(said)}", "bad"))
    for rule in agent.get("rules") or ():
        if rule["firing"]:
            style = {"alarm": "bad", "warning": "warn"}.get(rule["severity"], "")
            wrong.append(Piece(f"rule {printable(rule['rule'])}{_about(rule)}", style))
    if unusual := [str(of["series"]) for of in agent.get("anomalies") or ()]:
        named = unusual[0] if len(unusual) == 1 else f"{len(unusual)} series"
        wrong.append(Piece(f"unusual on the device: {printable(named)}", "warn"))
    for plugin in agent.get("plugins") or ():
        if plugin["state"] == "down":
            wrong.append(Piece(f"plugin {printable(plugin['name'])} does not run", "warn"))
    if ship is None:
        wrong.append(Piece("no shipper runs", "warn"))
    elif ship["sink"] != "none" and not ship["connected"] and "bursts" not in ship:
        wrong.append(Piece("the sink is not connected", "warn"))
    return wrong


def _about(rule: dict[str, Any]) -> str:
    """Whom a firing rule is about, in brackets: the one, or how many; nothing where that is the device."""
    if rule["firing"] > 1:
        return f" ({rule['firing']} times)"
    about = [str(of) for one in rule["instances"] for name, of in one.items() if name != "since_s"]
    return f" ({printable(' '.join(about))})" if about else ""


# -- parts of the page


def _head(seen: Seen, agent: dict[str, Any], width: int, now_s: float, blocks: str) -> list[Line]:
    title = f"edgemon {agent['version']}  {agent['device']} (fleet {agent['fleet']})"
    clock = time.strftime("%H:%M:%S", time.localtime(now_s))
    alive = f"up {human_duration(agent['uptime_s'])}, {human_bytes(agent['rss_bytes'])}  {clock}"
    lines: list[Line] = [both_ends(Piece(printable(title), "bold"), Piece(alive, "dim"), width)]
    if seen.gone_since_s is not None:
        gone = human_duration(max(0.0, now_s - seen.gone_since_s))
        then = time.strftime("%H:%M:%S", time.localtime(seen.at_s))
        lines.append([Piece(f"NO AGENT ANSWERS for {gone}; what is below was at {then}", "bad")])
    else:
        wrong = verdict(agent, seen.ship)
        said: Line = [Piece("All is well.", "good")]
        if wrong:
            said = [Piece("Look: ", "bold")]
            for index, piece in enumerate(wrong):
                said += [Piece(", ")] if index else []
                said.append(piece)
        if seen.restarts:
            said.append(Piece(f"  (the agent was restarted {seen.restarts}x)", "warn"))
        lines.append(said)
    ingest, system = agent["ingest"], agent["system"]
    curve = sparkline(*scaled(seen.history.of("ingest")), blocks)
    lines += [
        [
            _label("ingest"),
            Piece(f"{_rate(ingest['rate_per_s'])}/s "),
            Piece(curve, "dim"),
            Piece(
                f" {counted(ingest['predictions'], 'prediction')}"
                f" from {counted(len(ingest['clients']), 'client')}"
            ),
        ],
        [_label("device"), *_device(seen, system, blocks)],
    ]
    text, *more = spool_line(agent["spool"], now_s).splitlines()
    sick = agent["spool"]["failure"] or agent["spool"]["held_back"]
    lines.append([_label("spool"), Piece(text, "bad" if sick else "")])
    lines += [[_label(""), Piece(line.strip(), "warn")] for line in more]
    shipping = ship_line(seen.ship)
    away = seen.ship is None or (seen.ship["sink"] != "none" and not seen.ship["connected"])
    style = "warn" if away and "bursts" not in (seen.ship or {}) else ""
    first, *rest = wrapped(shipping, width - 8)
    lines.append([_label("sink"), Piece(first, style)])
    lines += [[_label(""), Piece(line, style)] for line in rest[:1]]
    return lines


def _device(seen: Seen, system: dict[str, float], blocks: str) -> Iterable[Piece]:
    if not system:
        yield Piece("not sampled yet", "dim")
    for name, label in (
        ("cpu_percent", "cpu"),
        ("memory_used_percent", "memory"),
        ("disk_used_percent", "disk"),
    ):
        if name in system:
            value = system[name]
            yield Piece(f"{label} {value:.0f} % ", "warn" if value >= 90 else "")
            curve = sparkline(seen.history.of("system", name), 8, 100.0, blocks)
            yield Piece(f"{curve}  ", "dim")
    hottest = max((v for k, v in system.items() if k.startswith("temperature")), default=None)
    if hottest is not None:
        yield Piece(f"{hottest:.0f} °C", "warn" if hottest >= 80 else "")
    if any(value >= 1 for name, value in system.items() if name.startswith("throttle")):
        yield Piece("  throttled", "warn")


def _body(
    seen: Seen, agent: dict[str, Any], width: int, room: int | None, blocks: str
) -> list[Line]:
    """Models, then streams, the nearest to an alarm first. room: lines."""
    models = agent["models"]
    if not models:
        send = (
            f"No predictions yet. Try: edgemon send --help, or write to {agent['ingest']['socket']}"
        )
        return [[], [Piece(send)]]
    streams = sorted(
        ((model, stream) for model in models for stream in model["drift"]),
        key=lambda pair: (not pair[1]["drifted"], -(closeness(pair[1]) or 0.0)),
    )
    most = len(models)
    if room is not None:
        # Four lines are headers and gaps; models get what streams leave, half of the room at least.
        free = max(2, room - 4)
        most = min(most, max(free // 2, free - len(streams)))
    lines = [[], *_models(seen, models, most, width, blocks)]
    left = None if room is None else room - len(lines) - 2
    lines.append([])
    if not streams:
        lines.append([Piece("No model has a profile, so nothing is tested for drift:", "dim")])
        lines.append([Piece("edgemon profile build --help", "dim")])
        return lines
    return lines + _streams(seen, streams, left, width, blocks)


def _models(
    seen: Seen, models: list[dict[str, Any]], most: int, width: int, blocks: str
) -> list[Line]:
    curve = 10 if width < 100 else 20
    named = max(16, min(40, width - 60 - curve + 10))
    head = "model".ljust(named) + "rate".rjust(9) + " " * (curve + 1)
    head += "".join(f"{name:>8}" for name in _LATENCIES) + "  drift"
    lines: list[Line] = [[Piece(head, "bold")]]
    shown = models
    if len(models) > most:
        shown = sorted(models, key=_calm)[: max(1, most - 1)]
    for model in shown:
        name = printable(f"{model['model']} {model['version']}".strip())
        values = seen.history.of("rate", model["model"], model["version"])
        latency = model.get("latency") or {}
        drift, style = _drift_of(model, width)
        if figure := _performance.brief(model):
            drift += f", {figure}"
        lines.append(
            [
                Piece(fit(name, named)),
                Piece(f"{_rate(model['rate_per_s'])}/s".rjust(9)),
                Piece(" " + sparkline(*scaled(values, curve), blocks), "dim"),
                *(
                    Piece((human_duration(latency[name]) if name in latency else "-").rjust(8))
                    for name in _LATENCIES
                ),
                Piece(f"  {drift}", style),
            ]
        )
    if len(shown) < len(models):
        lines.append([Piece(f"and {len(models) - len(shown)} more: make the window larger", "dim")])
    return lines


def _calm(model: dict[str, Any]) -> tuple[bool, ...]:
    """By what models are chosen where not all find room: those with something wrong first, else as they came."""
    return (
        not model["drifted"],
        not _performance.alarms(model),
        not _quality.faults(model),
        model["last_seen_s_ago"] < _SILENT_S,
    )


def _drift_of(model: dict[str, Any], width: int) -> tuple[str, str]:
    if drifted := model["drifted"]:
        named = printable(", ".join(drifted))
        return named if width >= 120 or len(drifted) == 1 else f"{len(drifted)} streams", "bad"
    if model["last_seen_s_ago"] >= _SILENT_S:
        return f"silent {human_duration(model['last_seen_s_ago'])}", "warn"
    if making := model.get("reference"):
        return f"makes its reference: {making['have']} of {making['want']}", "dim"
    return ("no", "good") if model["profile"] else ("no profile", "dim")


def _streams(
    seen: Seen,
    streams: list[tuple[dict[str, Any], dict[str, Any]]],
    room: int | None,
    width: int,
    blocks: str,
) -> list[Line]:
    named = 24 if width < 100 else 32
    curve = max(14, min(KEPT, width - named - 43))
    head = "stream".ljust(named) + "D".rjust(7) + "alarm at".rjust(10)
    title = f"{blocks[-1]} = alarm"
    head += f"  {title.rjust(curve)}  state"
    lines: list[Line] = [[Piece(head, "bold")]]
    shown = streams if room is None or len(streams) <= room else streams[: max(0, room - 1)]
    for model, stream in shown:
        name = printable(f"{model['model']} {stream['stream']}")
        limit = stream["threshold_d"]
        values = seen.history.of("drift", *stream_key(model, stream))
        near = closeness(stream)
        if stream["drifted"]:
            state, style = f"DRIFT: {_BY.get(stream['by'], printable(stream['by']))}", "bad"
        elif stream["n"] < stream["window"]:
            state, style = f"fills {100 * stream['n'] // max(1, stream['window'])} %", "dim"
        else:
            state, style = "no drift", ""
        lines.append(
            [
                Piece(fit(name, named)),
                Piece(f"{stream['d']:.3f}".rjust(7)),
                Piece((f"{limit:.3f}" if limit else "texts").rjust(10)),
                Piece(
                    "  "
                    + (sparkline(values, curve, 1.0, blocks) if near is not None else " " * curve),
                    "bad" if stream["drifted"] else "dim",
                ),
                Piece(f"  {state}", style),
            ]
        )
    if len(shown) < len(streams):
        calm = len(streams) - len(shown)
        lines.append([Piece(f"and {calm} more, further from an alarm", "dim")])
    return lines


def _foot(seen: Seen) -> list[Line]:
    now = troubles(seen.agent, seen.ship) if seen.agent is not None else {}
    if not now:
        return [[Piece("Nothing was dropped.", "dim")]]
    new = seen.new_troubles()
    worst = sorted(now, key=lambda name: (-new.get(name, 0), -now[name]))
    parts = []
    for name in worst:
        area, _, reason = name.partition("{")
        area = area.removeprefix("edgemon_").removesuffix("_total").replace("_", " ")
        why = reason.removeprefix('reason="').removesuffix('"}').replace("_", " ")
        more = f" (+{human_count(new[name])} now)" if name in new else ""
        parts.append(f"{area}{f' ({why})' if why else ''} {human_count(now[name])}{more}")
    text = "; ".join(parts)
    return [[Piece("dropped or failed  ", "bold"), Piece(text, "warn" if new else "")]]


# -- small things


def _label(text: str) -> Piece:
    return Piece(text.ljust(8), "bold")


def _rate(rate: float) -> str:
    return human_count(round(rate) if rate >= 10 else round(rate, 1))
