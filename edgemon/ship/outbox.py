"""Which batch leaves next, which wait for something, and how far the cursor is.

Batches leave by kind in the order of records.KINDS (alarms overtake raw rows). While a backlog of old
batches drains over a broker, what is measured now gets a share of at least FRESH_SHARE of the bytes
(lane.py). Limits of bytes a second and a month are in limits.py.

A batch that the sink refuses REFUSALS times goes to the spool's quarantine and is passed over.

What is bounded, and what happens at the bound:

- acknowledgements that wait for one before them: progress.MAX_AHEAD a kind; that kind waits.
- batches that wait for a receiver's confirmation: the same MAX_AHEAD; that kind waits.
- batches in trouble, refused and to be tried again: MAX_TROUBLES; then no new ones are taken.
- cursor stores, an fsync each: one in STORE_INTERVAL_S, or in STORE_EVERY_BYTES acknowledged.
"""

from __future__ import annotations

from edgemon import log
from edgemon.config import ShipSettings
from edgemon.flow.backoff import Backoff
from edgemon.metrics import Counters
from edgemon.records import KINDS
from edgemon.ship.lane import Lane
from edgemon.ship.limits import Limits
from edgemon.ship.progress import Progress
from edgemon.ship.sink import HISTORICAL_S, NEVER, Key, Parcel
from edgemon.ship.trouble import MAX_TROUBLES, Trouble
from edgemon.std.collections.abc import Callable
from edgemon.typed import Protocol

STORE_INTERVAL_S = 5.0
STORE_EVERY_BYTES = 4 << 20
FRESH_SHARE = 0.25
MAX_STREAMS = 4  # numberings that one spool holds batches of; more are confirmed by nobody

Range = tuple[int, int]


class Source(Protocol):
    """What the shipper needs of the spool; source.py has the real one."""

    def next(self, kind: str, after_seq: int, *, fresh: bool = False) -> Parcel | None:
        """The first durable batch of this kind above `after_seq`.

        fresh: it is asked for the row of new batches: two rows are read at two places.
        """

    def numbering(self) -> str:
        """The stream id of now, 32 hex digits, "" while there is no spool. Batches of before a card was copied
        have another."""

    def durable(self, kind: str) -> int:
        """The highest seq of this kind that is on disk for good."""

    def acked(self) -> dict[str, int]:
        """The stored cursor: kind -> seq."""

    def restarted(self) -> bool:
        """Whether the numbering began anew since the last call: another spool is in the folder."""

    def advance(self, kind: str, seq: int) -> None:
        """All of this kind up to `seq` has been delivered; not durable before store()."""

    def store(self) -> None:
        """Make the cursor durable. Raises OSError."""

    def quarantine(self, parcel: Parcel, reason: str) -> bool:
        """Keep a refused batch for a person to look at; False when the disk does not."""


class Outbox:
    """The shipper's order of work over a source.

    new_backoff: for a batch in trouble.  now: monotonic seconds.  wall: seconds since 1970.
    """

    def __init__(
        self,
        source: Source,
        settings: ShipSettings,
        counters: Counters,
        limits: Limits | None,
        new_backoff: Callable[[], Backoff],
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._source = source
        self._settings = settings
        self._counters = counters
        self._limits = limits
        self._new_backoff = new_backoff
        self._now = now
        self._wall = wall
        self._lanes = {kind: Lane(seq) for kind, seq in source.acked().items()}
        self._trouble: dict[Key, Trouble] = {}
        self._fresh_bytes = self._backlog_bytes = 0  # sent since there is a backlog
        self._held = False  # the rate limit holds something back
        self._last_store = -NEVER
        self._unstored_bytes = 0
        self._dirty = False
        self._taken: dict[str, dict[str, Range]] = {}  # stream -> kind -> what was taken of it
        self.unconfirmed_resends = 0  # since a receiver last confirmed something

    def use(self, settings: ShipSettings) -> None:
        """Go on under these settings, with another sink."""
        self._settings = settings
        self._trouble.clear()
        # What no receiver confirmed under the settings before is sent again under these.
        self._lanes = {kind: Lane(lane.acked) for kind, lane in self._lanes.items()}
        if self._limits is not None:
            self._limits.use(settings)

    def look_again(self) -> None:
        """There may be new batches."""
        for part in self._parts():
            part.empty = False

    def begin_anew_if_restarted(self) -> bool:
        """Whether another spool is in the folder; all work under way is then forgotten."""
        if not self._source.restarted():
            return False
        if any(lane.used for lane in self._lanes.values()):
            log.warning("another spool is in the folder: its batches are numbered anew")
        self._lanes = {kind: Lane(seq) for kind, seq in self._source.acked().items()}
        self._trouble.clear()
        self._taken.clear()
        self._dirty = False
        return True

    # -- what there is to do

    @property
    def all_taken(self) -> bool:
        """Nothing more is known to send, and nothing waits to be tried again."""
        waiting = any(trouble.waiting for trouble in self._trouble.values())
        return not waiting and all(part.empty for part in self._parts())

    @property
    def unconfirmed(self) -> bool:
        """Whether something waits for a receiver's confirmation."""
        return any(part.unconfirmed for part in self._parts())

    @property
    def no_events(self) -> bool:
        """Nothing more is known of the first kind, which goes whatever the limits."""
        return self._lanes[KINDS[0]].old.empty

    @property
    def retrying(self) -> int:
        """Batches in trouble."""
        return len(self._trouble)

    def acked(self) -> dict[str, int]:
        """How far the cursor is, by kind."""
        return {kind: lane.acked for kind, lane in self._lanes.items()}

    def nothing_to_send(self) -> bool:
        """Whether the spool is empty as far as the shipper is concerned. Reads it."""
        return all(
            self._source.next(kind, lane.old.taken) is None for kind, lane in self._lanes.items()
        )

    def asked(self) -> tuple[str, dict[str, int]]:
        """The stream that receivers are to confirm, and from where on by kind.

        That of the oldest batch under way; nearly always that of now.
        """
        for stream, taken in self._taken.items():
            if any(
                part.waits_for(*taken[kind]) for kind in taken for part in self._lanes[kind].parts
            ):
                begins = {kind: first - 1 for kind, (first, _) in taken.items()}
                return stream, {
                    kind: max(seq, begins.get(kind, 0)) for kind, seq in self.acked().items()
                }
        return self._source.numbering(), self.acked()

    def next_due(self) -> float:
        """When `next` may give something that it does not give now."""
        times = [t.not_before for t in self._trouble.values() if t.waiting]
        if self._held and self._limits is not None:
            times.append(self._now() + self._limits.wait_s())
        else:
            times += [lane.old.next_due for lane in self._lanes.values()]
        return min(times, default=NEVER)

    # -- what leaves next

    def next(self, now: float) -> Parcel | None:
        """The next batch to submit; passes over what is hopeless."""
        parcel = self._next(now)
        if parcel is not None:
            kinds = self._taken.setdefault(parcel.stream, {})
            first, last = kinds.get(parcel.kind, (parcel.seq, parcel.seq))
            kinds[parcel.kind] = min(first, parcel.seq), max(last, parcel.seq)
            if len(self._taken) > MAX_STREAMS:
                del self._taken[next(iter(self._taken))]
        return parcel

    def _next(self, now: float) -> Parcel | None:
        self._held = False
        for key, trouble in list(self._trouble.items()):
            if trouble.waiting and now >= trouble.not_before:
                kind, seq = key
                parcel = self._source.next(kind, seq - 1)
                if parcel is None or parcel.seq != seq:
                    self._finish(kind, seq, 0)  # the spool has dropped it, and says so itself
                elif not self._given_up(parcel):
                    trouble.waiting = False
                    return parcel
        if len(self._trouble) >= MAX_TROUBLES:
            return None
        events, *others = KINDS
        parcel = self._take_fresh(events) or self._take_old(events, now)
        if parcel is not None or not self._others_may_go():
            return parcel
        backlog = any(lane.fresh is not None for lane in self._lanes.values())
        if not backlog:
            self._fresh_bytes = self._backlog_bytes = 0
        sent = self._fresh_bytes + self._backlog_bytes
        if backlog and self._fresh_bytes <= FRESH_SHARE * sent:
            for kind in others:
                if parcel := self._take_fresh(kind):
                    return parcel
        for kind in others:
            if parcel := self._take_old(kind, now):
                self._backlog_bytes += len(parcel.frame)
                return parcel
        for kind in others:
            if parcel := self._take_fresh(kind):
                return parcel
        return None

    def _others_may_go(self) -> bool:
        """Whether the limits let more than events through."""
        if self._limits is None:
            return True
        self._held = self._limits.wait_s() > 0
        return not self._held and not self._limits.events_only

    def _take_fresh(self, kind: str) -> Parcel | None:
        part = self._lanes[kind].fresh
        while part is not None and not part.empty and not part.full:
            parcel = self._source.next(kind, part.taken, fresh=True)
            if parcel is None:
                part.empty = True
                break
            part.take(parcel.seq)
            self._fresh_bytes += len(parcel.frame)
            if not self._given_up(parcel):
                return parcel
        return None

    def _take_old(self, kind: str, now: float) -> Parcel | None:
        lane = self._lanes[kind]
        while seq := lane.old.overdue(now):
            parcel = self._source.next(kind, seq - 1)
            if parcel is None or parcel.seq != seq:
                self._finish(kind, seq, 0)  # the spool has dropped it, and says so itself
                continue
            lane.old.resend(seq)
            self.unconfirmed_resends += 1
            self._counters.add("edgemon_ship_unconfirmed_batches_total")
            return parcel
        while not lane.old.empty and not lane.old.full:
            parcel = self._source.next(kind, lane.old.taken)
            if parcel is None or (lane.fresh is not None and parcel.seq > lane.end):
                lane.old.empty = True
                if lane.fresh is not None and lane.close_old():
                    self._moved(kind, lane)
                break
            lane.old.take(parcel.seq)
            self._split_if_backlog(lane, parcel)
            if not self._given_up(parcel):
                return parcel
        return None

    def _split_if_backlog(self, lane: Lane, parcel: Parcel) -> None:
        """Other sinks keep a folder or make objects: runs in order are worth more to them."""
        if self._settings.sink != "mqtt" or lane.fresh is not None or not parcel.wall_ms:
            return
        if parcel.wall_ms < (self._wall() - HISTORICAL_S) * 1000:
            end = self._source.durable(parcel.kind)
            if end > parcel.seq:
                lane.split(end)

    def _given_up(self, parcel: Parcel) -> bool:
        """Whether this batch was refused too often; it goes to the quarantine then."""
        trouble = self._trouble.get(parcel.key)
        if trouble is None or not trouble.hopeless:
            return False
        if not self._source.quarantine(parcel, trouble.reason):
            self._counters.add("edgemon_ship_errors_total", reason="quarantine_failed")
            trouble.try_again(self._now())
            return True
        self._counters.add("edgemon_ship_quarantined_batches_total")
        log.error(
            "a refused batch is in quarantine, others go on", kind=parcel.kind, seq=parcel.seq
        )
        self._finish(parcel.kind, parcel.seq, 0)
        return True

    # -- what became of it

    def finish(self, key: Key, size_bytes: int) -> None:
        """The other side has it for good."""
        self._finish(*key, size_bytes)

    def delivered(self, key: Key) -> None:
        """The other side has it, and a receiver is to confirm it."""
        kind, seq = key
        self._trouble.pop(key, None)
        part = self._lanes[kind].part_of(seq)
        part.delivered(seq, self._now(), self._settings.confirm_timeout_s)

    def confirmed(self, stream: str, stored: dict[str, int]) -> None:
        """A receiver has all of this stream up to these."""
        if stream not in self._taken:
            self._counters.add("edgemon_ship_ignored_acks_total", reason="other_stream")
            return
        for kind, seq in stored.items():
            lane = self._lanes[kind]
            first, last = self._taken[stream].get(kind, (0, 0))
            if seq > last and seq > lane.acked:
                self._counters.add("edgemon_ship_ignored_acks_total", reason="not_sent")
            if lane.confirm(min(seq, last), first):
                self.unconfirmed_resends = 0
                self._moved(kind, lane)

    def refused(self, key: Key, reason: str) -> None:
        """The other side will not have it; it is tried again after a pause."""
        trouble = self._trouble_of(key)
        trouble.refusals += 1
        trouble.reason = reason
        trouble.try_again(self._now())

    def strike(self, key: Key) -> None:
        """A connection ended with this batch alone under way."""
        self._trouble_of(key).strikes += 1

    def rewind(self) -> None:
        """The connection is gone: what was under way comes again."""
        for lane in self._lanes.values():
            lane.rewind()
        for trouble in self._trouble.values():
            trouble.waiting = False  # it comes again in its order

    def _finish(self, kind: str, seq: int, size: int) -> None:
        """This batch needs no more work."""
        lane = self._lanes[kind]
        self._unstored_bytes += size
        self._trouble.pop((kind, seq), None)
        if lane.finish(seq):
            self._moved(kind, lane)

    def _moved(self, kind: str, lane: Lane) -> None:
        """The cursor of this kind goes on."""
        self._source.advance(kind, lane.acked)
        self._dirty = True
        if lane.fresh is None and self._settings.confirm == "receiver":
            lane.old.wait_anew(self._now(), self._settings.confirm_timeout_s)
        for key in [key for key in self._trouble if key[0] == kind and key[1] <= lane.acked]:
            del self._trouble[key]  # gone from the spool before its turn came

    def _trouble_of(self, key: Key) -> Trouble:
        if key not in self._trouble:
            self._trouble[key] = Trouble(self._new_backoff())
        return self._trouble[key]

    def _parts(self) -> list[Progress]:
        return [part for lane in self._lanes.values() for part in lane.parts]

    # -- the cursor on disk

    def store_due(self) -> float:
        """When the cursor is to be stored at the latest."""
        return self._last_store + STORE_INTERVAL_S if self._dirty else NEVER

    def store_if_due(self, now: float) -> None:
        """Store it when it is time, or when much was acknowledged."""
        if now >= self.store_due() or (self._dirty and self._unstored_bytes >= STORE_EVERY_BYTES):
            self.store()

    def store(self) -> None:
        """Make the cursor durable. A disk that refuses is counted; the old cursor stands."""
        if not self._dirty:
            return
        self._last_store = self._now()
        try:
            self._source.store()
        except OSError as error:
            self._counters.add("edgemon_ship_errors_total", reason="cursor_not_stored")
            log.warning("cannot store the cursor", error=error)
            return
        self._counters.add("edgemon_ship_fsyncs_total", reason="cursor")
        self._dirty = False
        self._unstored_bytes = 0
