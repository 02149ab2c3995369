"""The way of an event: a row of the event batch, which leaves at once; of the talkative ones a part."""

from __future__ import annotations

from edgemon import log
from edgemon.flow.limit import TellLimit
from edgemon.metrics import Counters
from edgemon.records import Event, Row
from edgemon.std import json
from edgemon.std.collections.abc import Callable

EVENTS_A_MINUTE = 30
# What the log has of what is no alarm: faults of the data and of the device, what keeps drift from being tested, and
# the ends of what it said began. All else has a line of its own where it happens.
_LOGGED = ("quality.", "anomaly.", "drift.", "performance.", "errors.", "profile.")


class Events:
    """Where everything in the agent that has something to say says it.

    add(kind, row, mono_ns): a row for the open batch of its kind.
    """

    def __init__(self, counters: Counters, add: Callable[[str, Row, int], None]) -> None:
        self._counters = counters
        self._add = add
        self._limit = TellLimit(EVENTS_A_MINUTE, 60.0)
        self._alarm = False  # one is on its way to the disk
        self.alarm_untold = False  # one is on disk, and no shipper or supervisor knows

    def emit(self, event: Event, mono_ns: int) -> None:
        """Alarms and gaps always leave; of all else at most EVENTS_A_MINUTE of a type, the rest is counted."""
        always = event.severity == "alarm" or event.type == "gap"
        if not always and not self._limit.allow(event.type, mono_ns / 1e9):
            self._counters.add("edgemon_agent_dropped_events_total", reason=event.type)
            return
        self._counters.add("edgemon_agent_events_total", reason=event.type)
        if event.severity == "alarm":
            self._alarm = True
        self._log(event)
        row: Row = {
            "type": event.type, "severity": event.severity, "message": event.message, "model": event.model,
            "version": event.version, "stream": event.stream,
        }  # fmt: skip
        if event.data:
            row["data"] = json.dumps(event.data, ensure_ascii=False)
        self._add("event", row, mono_ns)

    @staticmethod
    def _log(event: Event) -> None:
        if event.type.startswith("rule."):  # whether a rule logs is the rule's to say
            return
        if event.severity == "alarm" or event.type.startswith(_LOGGED):
            write = log.info if event.severity == "info" else log.warning
            about = {"model": event.model, "version": event.version}
            write(event.message, **{name: said for name, said in about.items() if said})

    def durable(self) -> None:
        """What was emitted is on disk."""
        if self._alarm:
            self._alarm, self.alarm_untold = False, True
