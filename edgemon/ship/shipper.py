"""Moves batches from the spool to a sink: connecting, the window of what is in flight, and the end.

The spool is the only queue. At most `ship.max_inflight` batches are in flight, and only while the sink is
up; what leaves next is the outbox's (outbox.py). The cursor moves on acknowledgement, in order per kind; with
`ship.confirm = "receiver"` only when a receiver says that it has stored a batch, and what it does not
confirm in time is sent again. The cursor may lag behind: what is sent twice for that is dropped by the
receiver, which knows (device, stream, kind, seq). It is never ahead.

What is bounded, and what happens at the bound:

- batches in flight: `ship.max_inflight`, or what the sink says when it comes up; the next ones
  wait in the spool.
- attempts to connect: for ever, with backoff. The backoff begins anew after an acknowledgement, or
  after a connection that lasted STABLE_S: a broker that accepts and closes is not pestered.

A batch that may be why the other side keeps closing the connection is found out by sending one at a
time: after STRIKES connections that ended with this batch alone under way it is refused likewise.
"""

from __future__ import annotations

import time

from edgemon import log
from edgemon.config import ShipSettings
from edgemon.flow.backoff import Backoff
from edgemon.metrics import Counters
from edgemon.records import KINDS
from edgemon.ship.limits import Limits
from edgemon.ship.outbox import Outbox, Source
from edgemon.ship.sink import NEVER, Key, Sink
from edgemon.std import random
from edgemon.std.collections.abc import Callable

# The spool is looked at so often without a nudge, and when we are awake anyway half as long after the last look.
POLL_S = 30.0
STABLE_S = 60.0
BATCHES_A_STEP = 32
GOODBYE_S = 1.0
LIMIT_CHECK_S = 60.0  # how often a used-up month is looked at again


class Shipper:
    """Moves batches from a source to a sink; the owner calls step() when deadline() has come.

    now: monotonic seconds.  uniform: draws from [0, 1) for the jitter.  wall: seconds since 1970.
    limits: None for none.
    Of the sink it takes the reports (SinkEvents); it acts on them in the next step().
    """

    def __init__(
        self,
        source: Source,
        settings: ShipSettings,
        counters: Counters,
        now: Callable[[], float],
        uniform: Callable[[], float] = random.random,
        limits: Limits | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._now = now
        self._uniform = uniform
        self._limits = limits
        self._backoff = self._new_backoff()
        self.outbox = Outbox(
            source, settings, counters, limits, lambda: self._new_backoff(), now, wall
        )
        self._sink: Sink | None = None
        self._asked = ""  # the stream whose confirmations receivers were asked for
        self._flying: dict[Key, int] = {}  # what the sink has -> bytes
        self._resting = False  # the month's limit is used up: the sink was asked to stop
        self._starting = False  # start() was called and neither on_up nor on_down has come
        self._up = False
        self._up_since = 0.0
        self._acks_since_up = 0
        self._window = settings.max_inflight
        self._one_at_a_time = False
        self._next_start = 0.0
        self._next_poll = now() + POLL_S
        self._look_again = False  # for another spool in the folder
        self._more = False  # the last step ended before all was sent
        self._stopping = False
        self._ending = False  # sink.stop() was called
        self._stop_deadline = NEVER
        self.stopped = False
        self.last_error = ""
        self.last_error_at: float | None = None
        self.shipped_batches = dict.fromkeys(KINDS, 0)
        self.shipped_bytes = dict.fromkeys(KINDS, 0)
        self.delivered_event = 0  # the highest seq of an event batch that the sink acknowledged

    # -- driven by the owner

    def use(self, sink: Sink, settings: ShipSettings) -> None:
        """Go on with this sink, at once. The one before must have stopped."""
        self._sink = sink
        self._settings = settings
        self._backoff = self._new_backoff()
        self._next_start = self._now()
        self.outbox.use(settings)
        self._stopping = self._ending = self.stopped = False
        self._one_at_a_time = False

    def wake(self) -> None:
        """There may be new batches."""
        self.outbox.look_again()
        self._look_again = True

    def step(self) -> None:
        """Do all that can be done now."""
        now = self._now()
        if now >= self._next_poll - POLL_S / 2:
            self.wake()
        if self._look_again:
            self._look_again = False
            self._next_poll = now + POLL_S
            if self.outbox.begin_anew_if_restarted():
                self._flying.clear()
                self.delivered_event = 0
        sink = self._sink
        if sink is not None:
            if not (self._up or self._starting or self._stopping) and now >= self._next_start:
                self._start(sink, now)
            sink.tick(now)
            self._rest_if_exhausted(sink, now)
            self._fill(sink, now)
            self._ask(sink, now)
            self._advance_stop(sink, now)
        self.outbox.store_if_due(now)

    def deadline(self) -> float:
        """When step() is to be called at the latest."""
        sink = self._sink
        times = [self._next_poll, self.outbox.store_due()]
        if sink is not None:
            times.append(sink.deadline())
            if not (self._up or self._starting or self._stopping):
                times.append(self._next_start)
            if self._more:
                times.append(self._now())
            elif self._has_room(sink):
                times.append(self.outbox.next_due())
        if self._stopping and not self.stopped:
            times.append(self._stop_deadline)
        return min(times)

    @property
    def up(self) -> bool:
        """Whether the sink takes batches now."""
        return self._up

    @property
    def idle(self) -> bool:
        """Nothing is under way and nothing more is known to send."""
        return self.settled and not self.outbox.unconfirmed

    @property
    def settled(self) -> bool:
        """The same, but for what waits for a receiver's confirmation."""
        return not self._flying and self.outbox.all_taken

    @property
    def blocked_by_month(self) -> bool:
        """Nothing is under way, and the month's limit lets nothing more go that waits."""
        if self._limits is None or self._flying or not self._limits.events_only:
            return False
        return self._limits.exhausted or self.outbox.no_events

    @property
    def failures(self) -> int:
        """Attempts and connections that failed since the last success."""
        return self._backoff.failures

    def begin_stop(self) -> None:
        """Take no more, wait for what is in flight, say goodbye; `stopped` tells when it is over.

        After `ship.drain_timeout` it no longer waits, and GOODBYE_S later it is over in any case.
        """
        if not self._stopping:
            self._stopping = True
            self._stop_deadline = self._now() + self._settings.drain_timeout_s

    def _advance_stop(self, sink: Sink, now: float) -> None:
        if not self._stopping or self.stopped:
            return
        late = now >= self._stop_deadline
        if not self._ending and (late or not self._flying):
            self._ending = True
            self._stop_deadline = now + GOODBYE_S
            sink.stop(now)
        elif self._ending and late:
            sink.close()
            self.on_down("")

    def status(self) -> dict[str, object]:
        """For `edgemon status`."""
        now = self._now()
        waiting = not (self._up or self._starting or self._stopping) and self._sink is not None
        return {
            "sink": self._settings.sink,
            "connected": self._up,
            "last_error": self.last_error or None,
            "last_error_ago_s": None if self.last_error_at is None else now - self.last_error_at,
            "failures": self.failures,
            "next_attempt_s": max(0.0, self._next_start - now) if waiting else None,
            "inflight": len(self._flying),
            "retrying": self.outbox.retrying,
            "confirm": self._settings.confirm,
            "mode": self._settings.mode,
            "limits": self._limits.status() if self._limits is not None else None,
            "shipped": {
                kind: {"batches": self.shipped_batches[kind], "bytes": self.shipped_bytes[kind]}
                for kind in KINDS
            },
            "acked": self.outbox.acked(),
            "counters": self._counters.snapshot(),
        }

    # -- what the sink reports (SinkEvents)

    def on_up(self, window: int = 0) -> None:
        self._window = window or self._settings.max_inflight
        self._starting = False
        self._up = True
        self._up_since = self._now()
        self._acks_since_up = 0
        self._asked, _ = self.outbox.asked()  # the sink has just said so
        log.info("connected", sink=self._settings.sink)

    def on_ack(self, key: Key) -> None:
        size = self._flying.pop(key, None)
        if size is None:
            return
        self._backoff.reset()
        self._acks_since_up += 1
        self._one_at_a_time = False
        kind, seq = key
        if kind == KINDS[0]:
            self.delivered_event = max(self.delivered_event, seq)
        self.shipped_batches[kind] += 1
        self.shipped_bytes[kind] += size
        if self._settings.confirm == "receiver":
            self.outbox.delivered(key)
        else:
            self.outbox.finish(key, size)

    def on_confirmed(self, stream: str, stored: dict[str, int]) -> None:
        if self._settings.confirm == "receiver":
            self.outbox.confirmed(stream, stored)

    def on_refused(self, key: Key, reason: str) -> None:
        if self._flying.pop(key, None) is None:
            return
        self._counters.add("edgemon_ship_refused_batches_total")
        self._note_error(reason)
        self.outbox.refused(key, reason)
        log.warning("a batch was refused", kind=key[0], seq=key[1], reason=reason)

    def on_down(self, reason: str, *, by_peer: bool = False) -> None:
        now = self._now()
        lasted_s = now - self._up_since if self._up else 0.0
        if by_peer and self._flying and not self._acks_since_up:
            self._suspect()
        self._up = self._starting = False
        self._flying.clear()
        self.outbox.rewind()
        if self._stopping:
            self.stopped = True
            return
        if self._resting:
            self._resting = False
            self._next_start = now + LIMIT_CHECK_S
            return
        if lasted_s >= STABLE_S:
            self._backoff.reset()
        delay_s = self._backoff.next_delay()
        self._next_start = now + delay_s
        self._counters.add("edgemon_ship_errors_total", reason="connection")
        self._note_error(reason)
        log.warning(reason, next_attempt_s=round(delay_s, 1))

    # -- sending

    def _start(self, sink: Sink, now: float) -> None:
        if self._limits is not None and self._limits.exhausted:
            self._next_start = now + LIMIT_CHECK_S
            self._note_error("the bytes of this month are used up (ship.monthly_limit)")
            return
        self._starting = True
        sink.start(now)

    def _rest_if_exhausted(self, sink: Sink, now: float) -> None:
        """Even a connection that is idle costs bytes."""
        if self._limits is None or not self._up or self._resting or self._stopping:
            return
        if self._limits.exhausted:
            self._resting = True
            log.warning("the bytes of this month are used up", key="ship.monthly_limit")
            sink.stop(now)

    def _has_room(self, sink: Sink) -> bool:
        window = 1 if self._one_at_a_time else self._window
        free = self._up and not self._stopping and not self._resting
        return free and len(self._flying) < window and sink.ready()

    def _fill(self, sink: Sink, now: float) -> None:
        self._more = False
        for _ in range(BATCHES_A_STEP):
            parcel = self.outbox.next(now) if self._has_room(sink) else None
            if parcel is None:
                return
            self._flying[parcel.key] = len(parcel.frame)
            if self._limits is not None:
                self._limits.sending(len(parcel.frame))
            sink.submit(parcel, now)
        self._more = True  # a sink that acknowledges at once must not hold the loop

    def _ask(self, sink: Sink, now: float) -> None:
        """Receivers confirm the stream that they were asked for; a copied card has batches of two."""
        if self._settings.confirm != "receiver" or not self._up or self._stopping:
            return
        stream, _ = self.outbox.asked()
        if stream != self._asked:
            sink.announce(now)
            self._asked = stream

    def _suspect(self) -> None:
        """The other side closed and acknowledged nothing: perhaps one of these batches is why."""
        if len(self._flying) == 1:
            (key,) = self._flying
            self.outbox.strike(key)
        self._one_at_a_time = True

    def _note_error(self, reason: str) -> None:
        self.last_error, self.last_error_at = reason, self._now()

    def _new_backoff(self) -> Backoff:
        settings = self._settings
        return Backoff(
            settings.initial_interval_s,
            settings.max_interval_s,
            settings.multiplier,
            self._uniform,
        )
