"""The agent's answer to "is all well?": one JSON object, which `edgemon status` turns into a table."""

from __future__ import annotations

import os

from edgemon.ingest.datagrams import DATAGRAMS
from edgemon.spool.gaps import REASONS
from edgemon.typed import TYPE_CHECKING
from edgemon.version import VERSION

if TYPE_CHECKING:
    from edgemon.agent.agent import Agent
    from edgemon.agent.models import Model
    from edgemon.agent.storage import Storage


def report(agent: Agent) -> dict[str, object]:
    """Everything is a number, a string or a list of such; ages and durations in seconds, sizes in bytes."""
    plugins = agent.plugins
    now_s = agent.loop.now()
    config, device = agent.config, agent.device.monitor
    return {
        "version": VERSION,
        "pid": os.getpid(),
        "device": config.agent.device,
        "fleet": config.agent.fleet,
        "uptime_s": round(now_s - agent.started_s, 1),
        "rss_bytes": rss_bytes(),
        "config": {"file": config.file, "hash": config.hash, "last_reload": agent.last_reload},
        "remote": agent.remote.report() if agent.remote is not None else None,
        "ingest": {
            "socket": config.ingest.socket,
            "predictions": agent.counters.get("edgemon_ingest_predictions_total"),
            "rate_per_s": round(agent.arrivals.rate.rate(now_s), 2),
            "clients": [
                {"pid": client.peer[0], "uid": client.peer[1], "events": client.connection.events,
                 "bytes": client.received_bytes, "silent_s": round(now_s - client.heard_s, 1),
                 "resting": client.resting, "waiting_acks": client.waiting_acks}
                for client in agent.clients()
            ],
            "datagrams": agent.counters.get(DATAGRAMS),
        },
        "models": [_model(agent, model, now_s) for model in agent.pipeline.models.values()],
        "system": (plugins.latest() if plugins is not None else {})
        | (device.latest if device is not None else {}),
        # Collector -> series that it found at the last sample.
        "collectors": device.found if device is not None else {},
        "anomalies": device.anomalies_now() if device is not None else [],
        "plugins": plugins.status() if plugins is not None else [],
        "rules": agent.rules.status() if agent.rules is not None else [],
        "open_rows": agent.storage.batches.open_rows(),
        "spool": _spool(agent.storage),
        "counters": agent.counters.snapshot() | agent.storage.counters.snapshot(),
    }  # fmt: skip


def _model(agent: Agent, model: Model, now_s: float) -> dict[str, object]:
    told = model_status(model, now_s)
    if agent.pipeline.silences.is_silent(model.model, model.version):
        faults = told["quality"]
        assert isinstance(faults, list)
        faults.append({"kind": "silence", "stream": ""})
    return told


def model_status(model: Model, now_s: float) -> dict[str, object]:
    """What a model knows of itself; its silences are known elsewhere."""
    detectors, baseline, performance = model.detectors, model.baseline, model.performance
    faults = model.quality.latched() if model.quality is not None else []
    making = {"have": baseline.have, "want": baseline.want} if baseline is not None else None
    return {
        "model": model.model,
        "version": model.version,
        "predictions": model.predictions,
        "errors": model.failures,
        "performance": performance.status() if performance is not None else None,
        "rate_per_s": round(model.rate.rate(now_s), 3),
        "last_seen_s_ago": round(now_s - model.last_seen_s, 1),
        "latency": model.latency,
        "streams": model.streams,
        "has_output": any(model.schema.kind(stream) for stream in ("output", "confidence")),
        "profile": model.profile.hash[:16] if model.profile is not None else "",
        "reference": making,
        "drifted": detectors.drifted() if detectors is not None else [],
        "drift": detectors.status() if detectors is not None else [],
        "untested": detectors.untested if detectors is not None else {},
        "quality": [{"kind": kind, "stream": stream} for kind, stream in faults],
    }


def _spool(storage: Storage) -> dict[str, object]:
    usage, counters = storage.spool.usage(), storage.counters
    oldest = [
        kind.oldest_wall_ms for kind in usage.kinds.values() if kind.oldest_wall_ms is not None
    ]
    return {
        "bytes": usage.size_bytes,
        "max_bytes": usage.max_size_bytes,
        "segments": usage.segments,
        "journal_bytes": usage.journal_bytes,
        "waiting_batches": sum(kind.batches for kind in usage.kinds.values()),
        "waiting_rows": sum(kind.rows for kind in usage.kinds.values()),
        "oldest_wall_s": min(oldest) / 1000 if oldest else None,
        "failure": usage.failure,
        "held_back": storage.held_back,
        "lost": {
            reason: {
                "batches": counters.get("edgemon_spool_lost_batches_total", reason=reason),
                "rows": counters.get("edgemon_spool_lost_rows_total", reason=reason),
            }
            for reason in REASONS
            if counters.get("edgemon_spool_lost_batches_total", reason=reason)
            or counters.get("edgemon_spool_lost_rows_total", reason=reason)
        },
        "kinds": {
            name: {"durable_seq": kind.durable_seq, "acked_seq": kind.acked_seq, "batches": kind.batches,
                   "rows": kind.rows}
            for name, kind in usage.kinds.items()
        },
    }  # fmt: skip


def rss_bytes() -> int:
    """Resident memory of this process; 0 where /proc does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
