"""The S3 sink: runs of batches become objects, put by a short-lived child that has boto3.

What is gathered lies in files below `<state_dir>/s3`, never in memory. An object is closed at
`s3.object_size`, at 1,000 batches, when its first batch is `s3.max_age` old (events:
`s3.event_max_age`), at a hole in the numbers, or when the process is about to end. Where it ends is
written down before it is sent (s3_objects.Cuts). Its batches are acknowledged when the store has
the object, all at once; until then the spool keeps them, and a failure of any kind throws the files
away.

What is bounded: open files, MAX_OPEN_A_KIND; closed ones, the size of two objects (then the shipper
waits); uploads, one at a time, events first; the time of one, PUT_BASE_S and a second for each
SLOWEST_BYTES_A_S bytes.
"""

from __future__ import annotations

import selectors
from importlib.util import find_spec

from edgemon import log
from edgemon.config import Config
from edgemon.errors import ConfigError, Fault
from edgemon.metrics import Counters
from edgemon.records import KINDS
from edgemon.ship.s3_objects import MAX_BATCHES, Cuts, Gathering, remove_parts
from edgemon.ship.sink import NEVER, Parcel, Sink, SinkContext
from edgemon.ship.uploader import Answer, Uploader
from edgemon.spool.fs import join

CHECK_S = 90.0
PUT_BASE_S = 90.0
SLOWEST_BYTES_A_S = 4096
# A child that has nothing to do is kept for so long: the next object may be near.
LINGER_S = 2.0
# An object that was sent before a crash is made anew from the spool. When there was room for so long
# and nothing came, the rest of it is gone.
QUIET_S = 3.0
MAX_CLOSED = 64
# The shipper may send fresh batches while older ones drain: each of the two has a run of its own.
MAX_OPEN_A_KIND = 2


def make(context: SinkContext) -> Sink:
    if find_spec("boto3") is None:
        problem = 'ship.sink = "s3" needs the Python package boto3: install edgemon[s3]'
        raise ConfigError([Fault(context.config.file, 0, "", problem)])
    return S3Sink(context)


class S3Sink:
    """See the module's docstring, and Sink."""

    def __init__(self, context: SinkContext) -> None:
        self._config: Config = context.config
        self._events = context.events
        self._fs = context.fs
        self._counters: Counters = context.counters
        self._hurry = context.hurry
        self._folder = join(context.config.agent.state_dir, "s3")
        self._cuts: Cuts | None = None
        self._uploader = Uploader()
        self._open: list[Gathering] = []
        self._closed: list[Gathering] = []
        self._sent: Gathering | None = None  # what the child is putting
        self._state = "down"  # "down" | "checking" | "up" | "stopping"
        self._files = 0  # made so far
        self._fresh = False  # a batch came since the last tick
        self._had_room = False  # behind the last tick
        self._quiet_since = 0.0  # there has been room, and nothing came; as ticks saw it
        self._idle_since = 0.0

    # -- Sink

    def start(self, now: float) -> None:
        self._state = "checking"
        try:
            self._fs.make_dir(self._folder)
            remove_parts(self._fs, self._folder)
            self._cuts = Cuts(self._fs, join(self._folder, "cuts.json"))
            self._give({"op": "check"}, now + CHECK_S)
        except OSError as error:
            self._go_down(_said(error))

    def ready(self) -> bool:
        if self._state != "up":
            return False
        waiting_bytes = sum(run.size_bytes for run in self._closed)
        room_bytes = 2 * self._config.s3.object_size_bytes
        return waiting_bytes < room_bytes and len(self._closed) < MAX_CLOSED

    def submit(self, parcel: Parcel, now: float) -> None:
        assert self._state == "up"
        self._fresh = True
        limit_bytes = self._config.s3.object_size_bytes
        run = next((one for one in self._open if one.follows(parcel)), None)
        if run is not None and not run.has_room(parcel, limit_bytes):
            self._close_run(run)
            run = None
        try:
            if run is None:
                run = self._begin(parcel, now)
            for other in self._open:
                other.passed = other.passed or KINDS.index(other.kind) < KINDS.index(parcel.kind)
            run.add(parcel)
            if run.complete(limit_bytes):
                self._close_run(run)
        except OSError as error:
            self._go_down(_said(error))
            return
        self._upload_next(now)

    def watch(self) -> dict[int, int]:
        fd = self._uploader.fileno()
        return {fd: selectors.EVENT_READ} if fd >= 0 else {}

    def handle(self, fd: int, now: float) -> None:
        if fd != self._uploader.fileno():
            return
        answer = self._uploader.read()
        if answer is not None:
            self._on_answer(answer, now)

    def tick(self, now: float) -> None:
        if self._uploader.busy and now >= self._uploader.deadline:
            self._go_down("no answer from the store in time; the upload is given up")
            return
        fresh, self._fresh = self._fresh, False
        if fresh or not self._had_room:
            # Not since the batch came: what we did with it may have taken its time, as on a card that stalls.
            self._quiet_since = now
        if self._state == "up":
            ends = self._hurry() and not fresh
            for run in list(self._open):
                if ends or now >= self._due(run):
                    self._close_run(run)
            self._upload_next(now)
        self._had_room = self.ready()
        if not self._uploader.busy and now >= self._idle_since + LINGER_S:
            self._uploader.kill()

    def deadline(self) -> float:
        times = [NEVER]
        if self._uploader.busy:
            times.append(self._uploader.deadline)
        elif self._uploader.fileno() >= 0:
            times.append(self._idle_since + LINGER_S)
        if self._state == "up" and self._open:
            if self._hurry():
                times.append(0.0)
            times += [self._due(run) for run in self._open]
        return min(times)

    def announce(self, now: float) -> None:
        """There is nobody to tell."""

    def stop(self, now: float) -> None:
        if self._state == "up" and self._sent is not None:
            self._state = "stopping"
            self._discard(but=self._sent)
        else:
            self._go_down("")

    def close(self) -> None:
        self._state = "down"
        self._uploader.kill()
        self._discard()

    # -- objects

    def _begin(self, parcel: Parcel, now: float) -> Gathering:
        assert self._cuts is not None
        others = [run for run in self._open if run.kind == parcel.kind]
        if len(others) >= MAX_OPEN_A_KIND:
            self._close_run(others[0])
        self._files += 1
        place = parcel.stream, parcel.kind, parcel.seq
        cut, before = self._cuts.end_of(*place), self._cuts.begin_after(*place)
        run = Gathering(self._fs, self._folder, parcel, cut, before, now, self._files)
        self._open.append(run)
        return run

    def _due(self, run: Gathering) -> float:
        """When it is closed for its age."""
        settings = self._config.s3
        age_s = settings.event_max_age_s if run.kind == "event" else settings.max_age_s
        # Events are handed out before all else: what passed them says that there are no more.
        if not run.cut or (run.passed and run.kind == KINDS[0]):
            return run.since + age_s
        return max(run.since + age_s, self._quiet_since + QUIET_S) if self.ready() else NEVER

    def _close_run(self, run: Gathering) -> None:
        self._open.remove(run)
        self._closed.append(run)

    def _upload_next(self, now: float) -> None:
        try:
            self._upload(now)
        except OSError as error:
            self._go_down(_said(error))

    def _upload(self, now: float) -> None:
        """Give the child the next object, if it is free and there is one. Raises OSError."""
        if self._uploader.busy or not self._closed:
            return
        for alarms in [run for run in self._open if run.kind == "event" and not run.cut]:
            self._close_run(alarms)  # what leaves now should not leave before them
        run = min(self._closed, key=lambda one: KINDS.index(one.kind))
        assert self._cuts is not None
        self._cuts.record(run)
        agent = self._config.agent
        job: dict[str, object] = {
            "op": "put",
            "path": run.path,
            "size_bytes": run.size_bytes,
            "crc32c": run.checksum,
            "key": run.name(self._config.s3.prefix, agent.fleet, agent.device),
        }
        self._give(job, now + PUT_BASE_S + run.size_bytes / SLOWEST_BYTES_A_S)
        self._closed.remove(run)
        self._sent = run

    def _give(self, job: dict[str, object], deadline: float) -> None:
        settings = self._config.s3
        place = {
            "bucket": settings.bucket,
            "prefix": settings.prefix,
            "region": settings.region,
            "endpoint": settings.endpoint,
        }
        starts = self._uploader.starts
        self._uploader.give(place | job, deadline)
        self._counters.add("edgemon_ship_upload_processes_total", self._uploader.starts - starts)

    def _on_answer(self, answer: Answer, now: float) -> None:
        self._idle_since = now
        run, self._sent = self._sent, None
        stopping = self._state == "stopping"
        if run is None:
            if answer.result == "ok":
                self._state = "up"
                self._events.on_up(len(KINDS) * MAX_BATCHES)
            else:
                self._go_down(answer.message)
            return
        run.discard()
        if answer.result == "ok":
            self._counters.add("edgemon_ship_objects_total")
            self._counters.add("edgemon_ship_object_bytes_total", run.size_bytes)
            for key in run.held():
                self._events.on_ack(key)
        elif answer.result == "permanent":
            self._refuse(run, answer.message)
        else:
            self._go_down("" if stopping else answer.message)
            return
        if stopping:
            self._go_down("")
        elif self._state == "up":
            self._upload_next(now)

    def _refuse(self, run: Gathering, message: str) -> None:
        """The store never takes this object: its batches are tried in other ones."""
        assert self._cuts is not None
        self._counters.add("edgemon_ship_refused_objects_total")
        try:
            self._cuts.forget(run)
        except OSError as error:
            log.warning("cannot forget an object that was refused", error=error)
        for key in run.held():
            self._events.on_refused(key, message)

    def _go_down(self, reason: str) -> None:
        self._state = "down"
        self._uploader.kill()
        self._discard()
        self._events.on_down(reason)

    def _discard(self, but: Gathering | None = None) -> None:
        """Remove what was gathered; the spool has it."""
        sent = [] if self._sent in (None, but) else [self._sent]
        for run in [*self._open, *self._closed, *sent]:
            if run is not None:
                run.discard()
        self._open.clear()
        self._closed.clear()
        self._sent = but


def _said(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
