"""Rules at work in the agent: figures go to the engine, and what it notices becomes events, log lines and actions.

Imported where the configuration has rules, and nowhere else.
"""

from __future__ import annotations

import time

from edgemon import log
from edgemon.agent.status import rss_bytes
from edgemon.config import ActionSettings, Config
from edgemon.control import nudge
from edgemon.flow.rate import RateMeter
from edgemon.metrics import Counters
from edgemon.records import Event, Metric, Row
from edgemon.rules.engine import Engine
from edgemon.rules.figures import LOOK
from edgemon.rules.rule import Notice
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.notices import MAX_BYTES, Notices, new_key
from edgemon.std import json
from edgemon.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemon.agent.agent import Agent
    from edgemon.agent.execute import Outcome, Runner
    from edgemon.agent.models import Model
    from edgemon.agent.redact import Redaction

FIRED = "edgemon_rules_fired_total"
SUPPRESSED = "edgemon_rules_suppressed_total"
DONE = "edgemon_rules_actions_total"
FAILED = "edgemon_rules_action_failures_total"
DROPPED = "edgemon_rules_dropped_actions_total"
LEFT_OUT = "edgemon_rules_dropped_instances_total"

_MINUTE_S = 60.0
# To look at the spool costs reads, and it fills in hours.
_SPOOL_EVERY_S = 15.0
# Counters that are an error of an application's, and losses of the spool.
_ERRORS = ("edgemon_ingest_dropped_events_total", "edgemon_ingest_dropped_values_total")
_DROPS = ("edgemon_spool_lost_rows_total",)
# Characters of a message, a name or an output that an action is given.
_MOST_CHARACTERS = 2000


class Rules:
    """The engine, what it is told, and what it has done."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._loop = agent.loop
        self._counters = agent.counters
        self._runner: Runner | None = None
        self._last: dict[str, dict[str, object]] = {}  # of each command: how it ended
        self._told = dict.fromkeys((FIRED, SUPPRESSED, LEFT_OUT), 0)
        now_s = self._spool_due_s = self._loop.now()
        self._errors = _Recent(_ERRORS, agent.counters, now_s)
        self._drops = _Recent(_DROPS, agent.storage.counters, now_s)
        config = agent.config
        self._engine = Engine(config.rules, _named(config), now_s)
        self._notices = Notices(OsFileSystem(), config.agent.state_dir)
        agent.pipeline.on_window = self._on_window
        agent.pipeline.on_metric = self._on_metric
        agent.device.on_sample = self._on_sample
        self._timer = self._loop.call_every(self._engine.step_s, self._look)

    def reconfigure(self, config: Config) -> None:
        """Other rules from now on; those that are as they were go on where they stand."""
        self._do(self._engine.reconfigure(config.rules, _named(config), self._loop.now()))
        self._timer.cancel()
        self._timer = self._loop.call_every(self._engine.step_s, self._look)

    def stop(self) -> None:
        """Windows that the end cuts short are not judged."""
        agent = self._agent
        agent.pipeline.on_window = agent.pipeline.on_metric = agent.device.on_sample = None
        self._timer.cancel()
        if self._runner is not None:
            self._runner.stop()

    def forget(self) -> None:
        """In a child that the application forked."""
        if self._runner is not None:
            self._runner.forget()

    # -- figures

    def _on_window(self, model: Model, rows: list[Row], mono_ns: int) -> None:
        redaction = model.capture.redaction
        if not redaction.nothing:
            rows = [_redacted(redaction, row) for row in rows]
        self._do(self._engine.window(model.model, model.version, rows, mono_ns / 1e9))

    def _on_metric(self, metric: Metric, mono_ns: int) -> None:
        self._do(self._engine.report(metric.name, metric.value, mono_ns / 1e9))

    def _on_sample(self, values: dict[str, float]) -> None:
        self._do(self._engine.sample(values, self._loop.now()))

    def _look(self) -> None:
        now_s = self._loop.now()
        models = self._agent.pipeline.models
        seen_s: dict[str, float] = {}
        for model in models.values():
            seen_s[model.model] = max(model.last_seen_s, seen_s.get(model.model, 0.0))
        self._errors.roll(now_s)
        self._drops.roll(now_s)
        self._do(self._engine.look(self._values(now_s), seen_s, models.keys(), now_s))
        self._count()

    def _values(self, now_s: float) -> dict[str, float]:
        """The figures of the device that some rule wants, and that are new."""
        wanted = self._engine.wanted(LOOK)
        values: dict[str, float] = {}
        agent = self._agent
        wants_spool = any(name.startswith("spool.") for name in wanted)
        if wants_spool and now_s >= self._spool_due_s:
            self._spool_due_s = now_s + _SPOOL_EVERY_S
            usage = agent.storage.spool.usage()
            oldest = [kind.oldest_wall_ms for kind in usage.kinds.values() if kind.oldest_wall_ms]
            values |= {
                "spool.fill": 100.0 * usage.size_bytes / usage.max_size_bytes,
                "spool.bytes": float(usage.size_bytes),
                "spool.waiting": float(sum(kind.batches for kind in usage.kinds.values())),
                "spool.oldest": max(0.0, time.time() - min(oldest) / 1000) if oldest else 0.0,
                "spool.drops": self._drops.count(now_s),
                "spool.failing": float(bool(usage.failure)),
            }
        if "agent.memory" in wanted:
            values["agent.memory"] = float(rss_bytes())
        return values | {
            "clients": float(len(agent.clients())),
            "ingest.errors": self._errors.count(now_s),
        }

    # -- what follows

    def _do(self, notices: list[Notice]) -> None:
        if notices:
            self._count()
        for notice in notices:
            if notice.state == "fired" and notice.rule.severity == "alarm":
                self._record(notice)
            for doing in notice.rule.do:
                kind, _, name = doing.partition(":")
                if kind == "event":
                    self._emit(notice)
                elif kind == "log":
                    write = log.info if notice.state == "cleared" else log.warning
                    write(f"rule {notice.state}: {notice.message}", severity=notice.rule.severity)
                elif (action := self._agent.config.actions.get(name)) is None:
                    continue  # a reload took it, and the rule with it
                elif not action.follows(notice.state):
                    continue
                elif kind == "exec":
                    self._execute(name, action, notice)
                else:
                    self._send(kind, name, notice)

    def _record(self, notice: Notice) -> None:
        """An alarm about a model: its flight recorder keeps what was and what comes (models.recorder)."""
        model = self._agent.pipeline.models.get((notice.key.model, notice.key.version))
        if model is not None:
            model.capture.alarm()
            model.hold()

    def _count(self) -> None:
        """Bring the counters up to what the engine has seen."""
        rules = self._engine.rules
        now = {
            FIRED: self._engine.ended.fired + sum(rule.fired for rule in rules),
            SUPPRESSED: self._engine.ended.suppressed + sum(rule.suppressed for rule in rules),
            LEFT_OUT: self._engine.ended.left_out + sum(rule.left_out for rule in rules),
        }
        for name, count in now.items():
            if count > self._told[name]:
                self._counters.add(name, count - self._told[name])
                self._told[name] = count

    def _emit(self, notice: Notice) -> None:
        key = notice.key
        severity = notice.rule.severity if notice.state == "fired" else "info"
        event = Event(
            f"rule.{notice.state}", severity, notice.message, key.model, key.version, key.stream or key.series,
            _data(notice),
        )  # fmt: skip
        self._agent.emit_event(event, time.monotonic_ns())

    def _execute(self, name: str, action: ActionSettings, notice: Notice) -> None:
        from edgemon.agent.execute import Runner, Task

        if self._runner is None:
            self._runner = Runner(self._loop, self._executed)
        about = {
            "EDGEMON_RULE": notice.rule.name,
            "EDGEMON_STATE": notice.state,
            "EDGEMON_SEVERITY": notice.rule.severity,
            "EDGEMON_MESSAGE": notice.message,
            "EDGEMON_DEVICE": self._agent.config.agent.device,
            **{f"EDGEMON_{part.upper()}": text for part, text in notice.key._asdict().items()},
        }
        about = {part: text.replace("\0", "")[:_MOST_CHARACTERS] for part, text in about.items()}
        if not self._runner.run(Task(name, action.command, action.timeout_s, about)):
            self._counters.add(DROPPED, reason="too_many_commands")

    def _executed(self, outcome: Outcome) -> None:
        name, rule = outcome.task.action, outcome.task.about["EDGEMON_RULE"]
        self._last[name] = {"words": outcome.words, "output": outcome.output}
        if outcome.ok:
            self._counters.add(DONE, reason="exec")
            log.info(f"{name} {outcome.words}", rule=rule)
            return
        self._counters.add(FAILED, reason="exec")
        message = f"{name}, the action of {rule}, {outcome.words}"
        log.warning(message, output=outcome.output)
        data: dict[str, object] = {"rule": rule, "action": name, "output": outcome.output}
        event = Event("rule.action_failed", "warning", message, data=data)
        self._agent.emit_event(event, time.monotonic_ns())

    def _send(self, kind: str, name: str, notice: Notice) -> None:
        """Leave it for the shipper, on disk; the writer's thread does it."""
        config, key = self._agent.config, new_key()
        content: dict[str, object] = {
            "id": key,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "device": config.agent.device,
            "fleet": config.agent.fleet,
            "state": notice.state,
            "severity": notice.rule.severity,
            "message": notice.message[:_MOST_CHARACTERS],
            **notice.key._asdict(),
            **_data(notice),
        }
        body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
        if len(body) > MAX_BYTES:
            self._counters.add(DROPPED, reason="too_large")
            return
        storage, writers = self._agent.storage, self._agent.storage.counters
        alarm = notice.rule.severity == "alarm"

        def write() -> None:
            try:
                dropped = self._notices.put(kind, name, key, body)
            except OSError as error:
                writers.add(DROPPED, reason="disk")
                log.error(f"a notification could not be kept: {error}", rule=notice.rule.name)
                return
            if dropped:
                writers.add(DROPPED, dropped, reason="queue_full")
            if not nudge(storage.ship_socket, alarm=alarm) and alarm:
                storage.events.alarm_untold = (
                    True  # told again with the next batch: it starts a burst
                )

        if storage.worker.run(write, len(body)):
            self._counters.add(DONE, reason=kind)
        else:
            self._counters.add(DROPPED, reason="writer_queue_full")

    def status(self) -> list[dict[str, object]]:
        """For `edgemon status`."""
        found = self._engine.status(self._loop.now())
        for one, rule in zip(found, self._engine.rules, strict=True):
            names = [doing.partition(":")[2] for doing in rule.settings.do]
            if last := {name: self._last[name] for name in names if name in self._last}:
                one["last"] = last
        return found


class _Recent:
    """How much some counters grew in the last minute."""

    def __init__(self, names: tuple[str, ...], counters: Counters, now_s: float) -> None:
        self._names = names
        self._counters = counters
        self._meter = RateMeter(_MINUTE_S, now_s)
        self._total = self._sum()

    def _sum(self) -> int:
        snapshot = self._counters.snapshot()
        return sum(count for name, count in snapshot.items() if name.startswith(self._names))

    def roll(self, now_s: float) -> None:
        total = self._sum()
        self._meter.add(total - self._total, now_s)
        self._total = total

    def count(self, now_s: float) -> float:
        return self._meter.rate(now_s) * _MINUTE_S


def _named(config: Config) -> list[str]:
    return [name for name in config.models if name != "*"]


def _redacted(redaction: Redaction, row: Row) -> Row:
    """The row as it leaves, so that no notice says more; of texts that it hides, their number, which no notice says."""
    kept = redaction.aggregate(dict(row))
    texts = row.get("cats")
    if isinstance(texts, str) and "cats" not in kept:
        kept["n"] = sum(json.loads(texts).values())
    return kept


def _data(notice: Notice) -> dict[str, object]:
    """What explains it."""
    return {
        "rule": notice.rule.name,
        "when": notice.rule.when,
        "values": {name: value for name, value in notice.values.items() if value is not None},
        "since_s": round(notice.since_s, 3),
        "suppressed": notice.suppressed,
        **({"series": notice.key.series} if notice.key.series else {}),
    }
