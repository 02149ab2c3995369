"""Everything between a row and the disk: the open batches, the writer's thread, the spool, and what it has to tell."""

from __future__ import annotations

import os
import time

from edgemon import log
from edgemon.agent.batches import Batches
from edgemon.agent.events import Events
from edgemon.agent.journal import replay
from edgemon.agent.loop import Loop, Timer
from edgemon.config import Config
from edgemon.control import SHIP_SOCKET, nudge
from edgemon.flow.batcher import Anchor, BatchLimits, Identity
from edgemon.ingest.server import Server
from edgemon.metrics import Counters
from edgemon.records import Event
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.worker import SpoolWorker
from edgemon.spool.writer import Spool
from edgemon.std.collections.abc import Callable
from edgemon.version import VERSION
from edgemon.wire import Encoder

# Reading from clients stops above this much in the writer's queue and goes on below half of it.
PRESSURE_BYTES = 8 << 20
# While applications wait because the spool is full, it is looked for room so often.
_LOOK_FOR_ROOM_S = 1.0


class Storage:
    """The agent's disk. `started` is told what to stop, in the order in which it starts.

    anchor: reads the clocks.  answer(token, failure): a token that was given to `batches.sync` is durable, or is not,
    because of `failure`.
    """

    def __init__(
        self,
        config: Config,
        loop: Loop,
        counters: Counters,
        anchor: Callable[[], Anchor],
        answer: Callable[[int, str], None],
    ) -> None:
        self._config = config
        self._loop = loop
        self._answer = answer
        self._disk_failure = ""
        self.ship_socket = os.path.join(config.agent.run_dir, SHIP_SOCKET)
        self.counters = Counters()  # of the writer's thread: a counter belongs to one thread
        self.gate: Server | None = None  # what reads from applications, and can pause
        self.held_back = False  # the spool is full and applications wait
        self._room_timer: Timer | None = None
        self.spool = Spool(
            OsFileSystem(),
            config.spool,
            counters=self.counters,
            witness=os.path.join(config.agent.state_dir, "spool.told"),
        )
        self._recovery = self.spool.open()
        encoder = Encoder(config.batch.level, config.batch.layout, config.batch.precision)
        self.worker = SpoolWorker(
            self.spool,
            encoder.encode,
            counters=self.counters,
            sync=config.spool.sync,
            sync_interval_s=config.spool.sync_interval_s,
            wake=loop.call_last,
        )
        self.batches = Batches(
            loop,
            self.worker,
            _identity(config, self.spool.stream_id),
            _limits(config),
            config.spool.sync_interval_s,
            self.spool.next_seq,
            anchor,
            counters,
            self.check_pressure,
        )
        self.events = Events(counters, self.batches.add)
        self._agent_counters = counters
        self._anchor = anchor

    def start(self, started: Callable[..., None]) -> None:
        """Begin to write, and send what an earlier life left in the journals."""
        started("spool", self._close, self.spool.forget)
        self.worker.start()
        started("spool writer", self._stop_worker)
        self._loop.add_reader(self.worker.fileno(), self._on_news)
        started("batches", self.batches.close_all)
        for batch in replay(self.spool.pending_journals(), self.batches.fits, self._anchor()):
            self.batches.replay(batch)
            rows = len(batch.rows)
            self._agent_counters.add("edgemon_spool_replayed_rows_total", rows)
            log.info(f"replayed {rows} {batch.kind} rows of an earlier run", seq=batch.seq)
            if batch.cut:
                self._agent_counters.add("edgemon_agent_cut_windows_rows_total", batch.cut)
        for event in self._recovery.events():
            self.events.emit(event, time.monotonic_ns())

    def reconfigure(self, config: Config) -> None:
        """Limits of the batches, which hold from the next one on; the spool's own keys need a restart."""
        self._config = config
        self.batches.reconfigure(
            _identity(config, self.spool.stream_id), _limits(config), config.spool.sync_interval_s
        )

    def check_pressure(self) -> None:
        """Stop reading while the writer is far behind, or the spool is full and nothing may go.

        The disk stalls, or nothing is delivered; what clients sent is not to be lost.
        """
        if self.gate is None:
            return
        queued_bytes, room_bytes = self.worker.queued_bytes, self.spool.room_bytes()
        if room_bytes is not None and queued_bytes >= room_bytes:
            self.gate.pause()
            self._look_for_room()
            if not self.held_back:
                self.held_back = True
                message = "the spool is full, applications wait (spool.when_full)"
                log.warning(message)
                self.events.emit(Event("spool.full", "warning", message), time.monotonic_ns())
            return
        self.held_back = False
        if queued_bytes > PRESSURE_BYTES:
            self.gate.pause()
        elif queued_bytes <= PRESSURE_BYTES // 2:
            self.gate.resume()

    def _look_for_room(self) -> None:
        """Soon: the shipper may have delivered more of the open segment, or another program have given disk space back,
        and neither is told to us."""
        if self._room_timer is not None:
            return

        def look() -> None:
            self._room_timer = None
            self.worker.maintain()

        self._room_timer = self._loop.call_at(self._loop.now() + _LOOK_FOR_ROOM_S, look)

    def _on_news(self) -> None:
        """The writer has some: tokens that are durable, gaps to be shipped, batches for the shipper."""
        news = self.worker.poll()
        for token in news.synced:
            self._answer(token, "")
        for token in news.not_synced:
            self._answer(token, news.failure or "unknown")
        for gap in news.gaps:
            log.warning(
                f"rows lost: {gap.reason}", kind=gap.kind, first=gap.from_seq, last=gap.to_seq
            )
            self.events.emit(gap.as_event(), time.monotonic_ns())
        if news.failure != self._disk_failure:
            self._disk_failure = news.failure
            if news.failure:
                log.error(f"the spool's disk does not write: {news.failure}; going on in memory")
            else:
                log.info("the spool's disk writes again")
        self.check_pressure()
        if news.durable:
            if "event" in news.durable:
                self.events.durable()
            # An alarm starts a burst; while nobody takes it, it is told again with each batch.
            if nudge(self.ship_socket, alarm=self.events.alarm_untold):
                self.events.alarm_untold = False

    def _stop_worker(self) -> None:
        if not self.worker.stop(self._config.agent.drain_timeout_s):
            log.error(
                "the disk did not take the last batches in time; the journal is replayed at the next start"
            )
        self._on_news()
        self._loop.remove(self.worker.fileno())
        self.worker.close()

    def _close(self) -> None:
        self.spool.close()
        nudge(self.ship_socket)


def _identity(config: Config, stream: bytes) -> Identity:
    return Identity(
        config.agent.device, config.agent.fleet, stream, {"agent": VERSION, "config": config.hash}
    )


def _limits(config: Config) -> BatchLimits:
    batch = config.batch
    return BatchLimits(batch.max_rows, batch.max_bytes, batch.max_age_s, batch.layout)
