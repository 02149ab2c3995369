"""The sink that is a plugin: `ship.sink = "plugin"`. One batch at a time, as a line; its answer is the acknowledgement.

Up is a process that said hello. One that dies or does not answer while it has a batch is a connection that the other
side ended: the shipper starts it again, sends again, and in time finds the batch that it cannot stand.
"""

from __future__ import annotations

import select
import selectors

from edgemon.plugins import protocol
from edgemon.plugins.process import STOPPED, End, PluginProcess, about
from edgemon.plugins.protocol import Message
from edgemon.ship.sink import Key, Parcel, Sink, SinkContext


def make(context: SinkContext) -> Sink:
    return PluginSink(context)


class PluginSink:
    """See the module's docstring, and Sink."""

    def __init__(self, context: SinkContext) -> None:
        settings = context.config.plugin_sink
        agent = context.config.agent
        self._about = {"device": agent.device, "fleet": agent.fleet}
        self._events = context.events
        self._process = PluginProcess(settings, context.counters, self, about(context.config))
        self._up = False
        self._key: Key | None = None  # of the batch that it has
        self._stopping = False
        self._start_due = False
        self._now = 0.0

    # -- Sink

    def start(self, now: float) -> None:
        self._now = now
        self._stopping = False
        if self._process.state == "down":
            self._process.start(now)
        else:
            self._start_due = True  # the one before takes its time to end

    def ready(self) -> bool:
        return self._up and self._process.state == "idle"

    def submit(self, parcel: Parcel, now: float) -> None:
        assert self._key is None
        batch: dict[str, object] = {
            "kind": parcel.kind,
            "seq": parcel.seq,
            "stream": parcel.stream,
            "rows": parcel.rows,
            "wall_ms": parcel.wall_ms,
        }
        self._key, self._now = parcel.key, now
        self._process.ask(protocol.send(parcel.frame, self._about | batch), now)

    def watch(self) -> dict[int, int]:
        return {
            fd: selectors.EVENT_WRITE if events & select.POLLOUT else selectors.EVENT_READ
            for fd, events in self._process.watch().items()
        }

    def handle(self, fd: int, now: float) -> None:
        self._now = now
        self._process.handle(fd, now)

    def tick(self, now: float) -> None:
        self._now = now
        self._process.tick(now)
        if self._start_due and self._process.state == "down":
            self._start_due = False
            self._process.start(now)

    def deadline(self) -> float:
        if self._start_due and self._process.state == "down":
            return 0.0
        return self._process.deadline()

    def announce(self, now: float) -> None:
        """There is nobody to tell."""

    def stop(self, now: float) -> None:
        self._up = self._start_due = False
        if self._process.state == "down":
            self._events.on_down("")
            return
        self._stopping = True
        self._process.stop(now)

    def close(self) -> None:
        self._up = self._stopping = self._start_due = False
        self._key = None
        self._process.kill()

    def status(self) -> dict[str, object]:
        """For `edgemon status`."""
        return self._process.status()

    # -- what its process reports

    def on_hello(self) -> None:
        self._up = True
        self._events.on_up(1)

    def on_answer(self, message: Message) -> None:
        key, self._key = self._key, None
        if key is None:
            return
        name = self._process.settings.name
        if message.kind == "ack":
            self._events.on_ack(key)
        elif message.kind == "reject":
            self._events.on_refused(key, f"plugin {name} rejects it: {message.text or 'no reason'}")
        elif not self._stopping:
            said = message.text or f"answered a batch with {message.kind!r}"
            self._go_down(f"plugin {name}: {said}", by_peer=False)

    def on_end(self, end: End) -> None:
        if self._stopping:
            self._stopping, self._key = False, None
            self._events.on_down("")
        elif end.reason != STOPPED:
            had, self._key = self._key is not None, None
            self._up = False
            self._events.on_down(end.of(self._process.settings.name), by_peer=had)

    def _go_down(self, reason: str, *, by_peer: bool) -> None:
        """Its process is let go; start() begins another."""
        self._up = False
        self._process.stop(self._now)
        self._events.on_down(reason, by_peer=by_peer)
