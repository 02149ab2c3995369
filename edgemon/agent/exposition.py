"""The status of agent and shipper as OpenMetrics 1.0, or in Prometheus' older text format.

Families follow the house's names, `edgemon_<area>_<what>_<unit>[_total]`. Counters are those of
edgemon.metrics as they are; gauges are made from the status objects, so that a page and `edgemon
status` never disagree. Names of models, versions and streams come from clients: they stand in labels
alone, escaped.

Sources: OpenMetrics 1.0.0 (CNCF, 2021); Prometheus, "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

import math

from edgemon.agent.counters import HELP
from edgemon.std.collections.abc import Iterator
from edgemon.typed import Any

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
# Streams of all models together that a page names; the others are counted in edgemon_metrics_left_out_streams.
MAX_STREAMS = 2_000

_UNITS = ("seconds", "bytes", "ratio")
_SHIP = "edgemon_ship_"
Labels = tuple[tuple[str, str], ...]


class _Page:
    """Families in the order in which they were first written to; samples of one stand together."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str, list[tuple[str, Labels, object]]]] = {}

    def add(
        self, kind: str, name: str, help_: str, value: object, *labels: tuple[str, str]
    ) -> None:
        """kind: "counter" | "gauge" | "summary" | "info".  value: what is no number adds nothing."""
        if isinstance(value, (int, float)):
            family = self._families.setdefault(name, (kind, help_, []))
            family[2].append((name, labels, value))

    def gauge(self, name: str, help_: str, value: object, *labels: tuple[str, str]) -> None:
        self.add("gauge", name, help_, value, *labels)

    def text(self, *, openmetrics: bool) -> bytes:
        lines: list[str] = []
        for name, (kind, help_, samples) in self._families.items():
            family, shown = name, kind
            if openmetrics:
                family = name.removesuffix({"counter": "_total", "info": "_info"}.get(kind, ""))
                unit = family.rpartition("_")[2]
                if unit in _UNITS:
                    lines.append(f"# UNIT {family} {unit}")
            elif kind == "info":
                shown = "gauge"
            lines += (f"# TYPE {family} {shown}", f"# HELP {family} {_escaped(help_)}")
            lines += [
                f"{full}{_labels(labels)} {_number(value)}" for full, labels, value in samples
            ]
        if openmetrics:
            lines.append("# EOF")
        return ("\n".join(lines) + "\n").encode(errors="backslashreplace")


def page(
    agent: dict[str, Any], ship: dict[str, Any] | None, wall_s: float, *, openmetrics: bool
) -> bytes:
    """One page. agent, ship: their status objects; None: the shipper does not answer.  wall_s: now."""
    out = _Page()
    _agent(out, agent, wall_s)
    _models(out, agent["models"])
    for series, value in agent["system"].items():
        help_ = "Latest value of a series of the device; its unit ends the series' name."
        out.gauge("edgemon_device_reading", help_, value, ("series", series))
    help_ = "Series of the device that are unusual now; their names stand in edgemon status and in events."
    out.gauge("edgemon_device_anomalies", help_, len(agent.get("anomalies") or ()))
    _spool(out, agent["spool"], wall_s)
    _ship(out, ship)
    _counters(out, agent["counters"], (ship or {}).get("counters") or {})
    return out.text(openmetrics=openmetrics)


def _agent(out: _Page, agent: dict[str, Any], wall_s: float) -> None:
    out.add(
        "info", "edgemon_build_info", "Version, device and fleet; the value is 1.", 1,
        ("version", agent["version"]), ("device", agent["device"]), ("fleet", agent["fleet"]),
    )  # fmt: skip
    start_s = round(wall_s - agent["uptime_s"], 1)
    out.gauge("edgemon_agent_start_time_seconds", "When the agent started, Unix time.", start_s)
    memory = "Memory of the agent that is resident."
    out.gauge("edgemon_agent_resident_memory_bytes", memory, agent["rss_bytes"])
    ingest = agent["ingest"]
    clients = "Applications that are connected."
    out.gauge("edgemon_ingest_clients", clients, len(ingest["clients"]))
    rate = "Predictions a second over about the last 10 seconds."
    out.gauge("edgemon_ingest_predictions_per_second", rate, ingest["rate_per_s"])


def _performance(model: dict[str, Any]) -> Iterator[tuple[str, str, object]]:
    """How well it does: of the last window with truths, and estimated."""
    known = model.get("performance") or {}
    truth = (known.get("truth") or {}).get("window") or {}
    estimate = known.get("estimate") or {}
    yield from (
        ("accuracy_ratio", "Share of right predictions among those whose truth came in the last window that had any.",
         truth.get("accuracy")),
        ("brier_score", "Brier score of the same.", truth.get("brier")),
        ("calibration_error", "Expected calibration error of the same.", truth.get("ece")),
        ("mae", "Mean absolute error of the same, in the unit of the output.", truth.get("mae")),
        ("rmse", "Root of the mean squared error of the same.", truth.get("rmse")),
        ("estimated_accuracy_ratio", "Accuracy, estimated without truths.", estimate.get("accuracy")),
        ("does_worse", "1 while the model does worse than its reference.",
         bool(known["drop"]) if known else None),
    )  # fmt: skip


def _models(out: _Page, models: list[dict[str, Any]]) -> None:
    left = MAX_STREAMS
    left_out = 0
    for model in models:
        which = (("model", model["model"]), ("version", model["version"]))
        name = "edgemon_model_predictions_total"
        out.add("counter", name, "Predictions of a model's version.", model["predictions"], *which)
        help_ = "Predictions that failed, as the application said."
        out.add("counter", "edgemon_model_errors_total", help_, model.get("errors"), *which)
        for name, help_, value in (
            ("predictions_per_second", "The same a second, over about the last 10 seconds.",
             model["rate_per_s"]),
            ("silence_seconds", "Time since the last prediction.", model["last_seen_s_ago"]),
            ("streams", "Outputs and features that are watched or counted.", model["streams"]),
            ("drifted_streams", "Streams whose drift alarm is on.", len(model["drifted"])),
            ("data_faults", "Faults of its data whose alarm is on.", len(model.get("quality") or ())),
            ("has_profile", "1 where there is a reference to test against.", bool(model["profile"])),
            *_performance(model),
        ):  # fmt: skip
            out.gauge(f"edgemon_model_{name}", help_, value, *which)
        for quantile, key in (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99")):
            latency = (model.get("latency") or {}).get(key)
            help_ = "Latency that the application reported, of the model's last window."
            name = "edgemon_model_latency_seconds"
            out.add("summary", name, help_, latency, *which, ("quantile", quantile))
        tested = model["drift"]
        left_out += max(0, len(tested) - left)
        for stream in tested[:left]:
            _stream(out, stream, which)
        left = max(0, left - len(tested))
    help_ = f"Streams that are not on this page because it names {MAX_STREAMS} at most."
    out.gauge("edgemon_metrics_left_out_streams", help_, left_out)


def _stream(out: _Page, stream: dict[str, Any], which: Labels) -> None:
    name, labels = "edgemon_drift", (*which, ("stream", stream["stream"]))
    help_ = "Distance of the window from the reference: Kolmogorov-Smirnov's D, of texts total variation."
    out.gauge(f"{name}_distance_ratio", help_, stream["d"], *labels)
    help_ = "Distance at which the alarm comes; texts have none."
    out.gauge(f"{name}_threshold_ratio", help_, stream["threshold_d"], *labels)
    out.gauge(f"{name}_drifted", "1 while the drift alarm is on.", bool(stream["drifted"]), *labels)
    fill = stream["n"] / max(1, stream["window"])
    out.gauge(f"{name}_window_fill_ratio", "How full the tested window is.", fill, *labels)


def _spool(out: _Page, spool: dict[str, Any], wall_s: float) -> None:
    oldest = spool["oldest_wall_s"]
    age = max(0.0, round(wall_s - oldest, 1)) if oldest is not None else 0
    for name, help_, value in (
        ("size_bytes", "Disk space that the spool takes.", spool["bytes"]),
        ("max_size_bytes", "Disk space that it may take.", spool["max_bytes"]),
        ("journal_bytes", "Of that, journals of open batches.", spool["journal_bytes"]),
        ("segments", "Files of batches.", spool["segments"]),
        ("oldest_waiting_seconds", "Age of the oldest batch that waits; 0 where none does.", age),
        ("healthy", "0 while the disk does not write.", not spool["failure"]),
        ("held_back", "1 while it is full and applications wait.", spool["held_back"]),
    ):
        out.gauge(f"edgemon_spool_{name}", help_, value)
    for kind, of in spool["kinds"].items():
        label = ("kind", kind)
        out.gauge("edgemon_spool_waiting_batches", "Batches that wait.", of["batches"], label)
        out.gauge("edgemon_spool_waiting_rows", "Rows that wait.", of["rows"], label)


def _ship(out: _Page, ship: dict[str, Any] | None) -> None:
    out.gauge(f"{_SHIP}up", "Whether a shipper answers.", ship is not None)
    if ship is None:
        return
    sink = ("sink", str(ship.get("sink", "")))
    help_ = "Whether it is connected to its sink."
    out.gauge(f"{_SHIP}connected", help_, bool(ship.get("connected")), sink)
    help_ = "Batches that the sink has not acknowledged yet."
    out.gauge(f"{_SHIP}inflight_batches", help_, ship.get("inflight"))
    for kind, of in (ship.get("shipped") or {}).items():
        label = ("kind", kind)
        help_ = "Batches that the sink acknowledged."
        out.add("counter", f"{_SHIP}shipped_batches_total", help_, of["batches"], label)
        out.add("counter", f"{_SHIP}shipped_bytes_total", "Their bytes.", of["bytes"], label)
    limits = ship.get("limits") or {}
    out.gauge(f"{_SHIP}month_bytes", "Bytes of this month.", limits.get("month_bytes"))
    help_ = "Bytes that a month may take."
    out.gauge(f"{_SHIP}month_limit_bytes", help_, limits.get("monthly_limit_bytes") or None)


def _counters(out: _Page, *snapshots: dict[str, int]) -> None:
    counts: dict[str, int] = {}
    for snapshot in snapshots:
        for key, count in snapshot.items():
            counts[key] = counts.get(key, 0) + count
    for key in sorted(counts):
        name, _, rest = key.partition("{")
        reason = rest.removeprefix('reason="').removesuffix('"}')
        labels = (("reason", reason),) if reason else ()
        words = name.removeprefix("edgemon_").removesuffix("_total").replace("_", " ")
        help_ = HELP.get(name, f"Count of {words}.")  # a shipper of another version may have others
        kind = "counter" if name.endswith("_total") else "gauge"
        out.add(kind, name, help_, counts[key], *labels)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    # Lone surrogates are no UTF-8: they are spelled out before the backslash is escaped.
    plain = text.encode(errors="backslashreplace").decode()
    return plain.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        if math.isinf(value):
            return "+Inf" if value > 0 else "-Inf"
        return "NaN" if value != value else repr(value)
    return str(value)
