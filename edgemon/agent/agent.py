"""The agent process: what it is made of, in the order in which it starts; stopping is that order reversed."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

from edgemon import log, service
from edgemon._core.clock import clock_error_ms
from edgemon.agent.batches import Batches
from edgemon.agent.control import Commands
from edgemon.agent.journal import replay
from edgemon.agent.loop import Loop, Timer
from edgemon.agent.pipeline import CUT_BY_CLOCK, Pipeline
from edgemon.agent.profiles import load_profiles
from edgemon.agent.redact import load_pseudonyms
from edgemon.agent.store import StateStore
from edgemon.agent.system import SystemMonitor
from edgemon.config import Config, reload
from edgemon.control import (
    AGENT_SOCKET,
    SHIP_SOCKET,
    ControlServer,
    make_run_dir,
    nudge,
    parent_fd,
)
from edgemon.drift.profile import Profile
from edgemon.errors import ConfigError, StorageError
from edgemon.flow.batcher import Anchor, BatchLimits, Identity
from edgemon.flow.limit import TellLimit
from edgemon.flow.rate import RateMeter
from edgemon.flow.steps import LEAST_S, ClockSteps
from edgemon.ingest.activation import NOTHING, inherited
from edgemon.ingest.protocol import Limits, Record, Shown
from edgemon.ingest.server import Client, Server, ServerSettings
from edgemon.metrics import Counters
from edgemon.records import AckRequest, Event, Label, Metric, Prediction, Row
from edgemon.spool.fs import OsFileSystem
from edgemon.spool.worker import SpoolWorker
from edgemon.spool.writer import Spool
from edgemon.version import VERSION
from edgemon.wire import Encoder

# Reading from clients stops above this much in the writer's queue and goes on below half of it.
PRESSURE_BYTES = 8 << 20
# Of one client, for the disk. Who asks for more is answered that they are refused.
MAX_WAITING_ACKS = 1024
EVENTS_A_MINUTE = 30
_RATE_SLOT_S = 10.0
# How often the past of the device's series is written: 2.4 KB a series, for flash's sake seldom.
_SAVE_PAST_S = 3600.0


class Agent:
    """Builds everything from one configuration and runs until it is told to stop.

    own_process: the process is the agent's. SIGTERM, SIGINT and the end of a supervisor stop it, SIGHUP reloads.
    Otherwise it is a guest in an application, which calls `start`, has a thread `serve`, and stops its loop.
    """

    def __init__(self, config: Config, *, own_process: bool = True) -> None:
        self.config = config
        self._own_process = own_process
        self.counters = Counters()
        self.loop = Loop()
        self.spool_counters = Counters()  # of the writer's thread: a counter belongs to one thread
        self.started_s = self.loop.now()
        self.rate = RateMeter(_RATE_SLOT_S, self.started_s)
        self.last_reload = ""
        self.system: SystemMonitor | None = None
        self.server: Server | None = None
        self._system_timer: Timer | None = None
        self._window_timer: Timer | None = None
        self._checkpoint_timer: Timer | None = None
        self._past_saved_s = self.started_s
        self._saved_at = 0  # predictions counted when the detectors' state was saved last
        self._alarm = False  # one is on its way to the disk
        self._alarm_untold = False  # one is on disk, and no shipper or supervisor knows
        self._disk_failure = ""
        self.held_back = False  # the spool is full and applications wait
        self._events = TellLimit(EVENTS_A_MINUTE, 60.0)
        self._boot = _boot_id()
        self._clock_steps = ClockSteps(
            time.monotonic_ns(), time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        )
        self._tokens: dict[int, tuple[Client, list[int | str]]] = {}
        self._next_token = 0
        self._stops: list[tuple[str, Callable[[], None]]] = []
        self._forgets: list[Callable[[], None]] = []

    # -- life

    def run(self) -> int:
        """Start, turn, stop; returns the exit code."""
        self.start()
        return self.serve()

    def start(self) -> None:
        """Start everything, or nothing: then what had started is stopped again, and the reason raised."""
        try:
            self._start()
        except BaseException:
            self._stop()
            raise

    def serve(self) -> int:
        """Turn until the loop is stopped, then stop everything; returns the exit code."""
        try:
            self.loop.run()
        finally:
            code = self._stop()
        log.info("stopped")
        return code

    def _stop(self) -> int:
        """What fails to stop does not keep the rest from stopping."""
        code = 0
        while self._stops:
            name, stop = self._stops.pop()
            log.debug(f"stopping {name}")
            try:
                stop()
            except Exception as error:
                log.error(f"{name} did not stop well: {error!r}")
                code = 1
        return code

    def _started(
        self, name: str, stop: Callable[[], None], forget: Callable[[], None] | None = None
    ) -> None:
        """forget: closes what a child that was forked must not hold, and touches nothing of the parent's."""
        self._stops.append((name, stop))
        if forget is not None:
            self._forgets.append(forget)

    def _start(self) -> None:
        config = self.config
        if self._own_process:
            self._mind_the_process()  # before anything slow: what comes meanwhile is done right after
        profiles = load_profiles(config)
        os.makedirs(config.agent.state_dir, mode=0o750, exist_ok=True)
        make_run_dir(config.agent.run_dir)
        self._started("clients", self._close_clients)  # last: what they wrote may still be answered
        self._start_spool()
        self._start_pipeline(profiles)
        self._start_system()
        if self.system is not None and self.system.anomalies is not None:
            self._store.load_past(self.system.anomalies.restore)
        handed = inherited(os.environ) if self._own_process else NOTHING
        self.server = Server(
            _server_settings(config),
            self.loop,
            self.counters,
            self._on_records,
            self.pipeline.table,
            handed,
            self._on_datagrams,
        )
        self.server.start()
        self._started("ingest", self._stop_ingest, self.server.forget)
        self._check_pressure()
        self.control = ControlServer(
            os.path.join(config.agent.run_dir, AGENT_SOCKET), Commands(self).handlers()
        )
        self.loop.add_reader(self.control.fileno(), self.control.on_readable)
        self._started("control", self.control.close, self.control.forget)
        self._start_metrics(handed.metrics)
        self.emit_event(
            Event(
                "agent.started", "info", f"edgemon {VERSION} started", data={"config": config.hash}
            ),
            time.monotonic_ns(),
        )
        log.info(
            f"listening on {config.ingest.socket}", device=config.agent.device, version=VERSION
        )
        if self._own_process:
            self._tell_the_manager()

    def _tell_the_manager(self) -> None:
        """To systemd: ready; alive, as long as the loop turns; stopping."""
        if interval_s := service.watchdog_interval_s():
            self.loop.call_every(interval_s, lambda: service.tell(service.ALIVE))
        service.tell(service.READY)
        self._started("service", lambda: service.tell(service.STOPPING))

    def forget(self) -> None:
        """In a child that the application forked, where no thread serves: what is open is the parent's business."""
        for forget in self._forgets:
            forget()

    def _mind_the_process(self) -> None:
        self.loop.on_signal(signal.SIGTERM, self.loop.stop)
        self.loop.on_signal(signal.SIGINT, self.loop.stop)
        self.loop.on_signal(signal.SIGHUP, self.reload)
        if (parent := parent_fd()) is not None:
            self.loop.add_reader(parent, self._parent_is_gone)

    def _start_spool(self) -> None:
        config = self.config
        self.spool = Spool(
            OsFileSystem(),
            config.spool,
            counters=self.spool_counters,
            witness=os.path.join(config.agent.state_dir, "spool.told"),
        )
        recovery = self.spool.open()
        self._started("spool", self._close_spool, self.spool.forget)
        encoder = Encoder(config.batch.level, config.batch.layout, config.batch.precision)
        self.worker = SpoolWorker(
            self.spool,
            encoder.encode,
            counters=self.spool_counters,
            sync=config.spool.sync,
            sync_interval_s=config.spool.sync_interval_s,
        )
        self.worker.start()
        self._started("spool writer", self._stop_worker)
        self.loop.add_reader(self.worker.fileno(), self._on_spool)
        self.batches = Batches(
            self.loop,
            self.worker,
            _identity(config, self.spool.stream_id),
            _limits(config),
            config.spool.sync_interval_s,
            self.spool.next_seq,
            self._anchor,
            self.counters,
            self._check_pressure,
        )
        self._started("batches", self.batches.close_all)
        for batch in replay(self.spool.pending_journals(), self.batches.fits):
            self.batches.replay(batch)
            rows = len(batch.rows)
            self.counters.add("edgemon_spool_replayed_rows_total", rows)
            log.info(f"replayed {rows} {batch.kind} rows of an earlier run", seq=batch.seq)
            if batch.cut:
                self.counters.add("edgemon_agent_cut_windows_rows_total", batch.cut)
        for event in recovery.events():
            self.emit_event(event, time.monotonic_ns())

    def _start_pipeline(self, profiles: dict[str, Profile]) -> None:
        config = self.config
        store = StateStore(
            OsFileSystem(),
            config.agent.state_dir,
            self.counters,
            self.spool_counters,
            self.worker.run,
        )
        self._store = store
        store.load_checkpoint()
        self.pipeline = Pipeline(
            config, profiles, self.counters, self.batches.add, self.emit_event, store,
            load_pseudonyms(config, OsFileSystem()), self.batches.add_rows,
        )  # fmt: skip
        self.batches.open_windows = lambda: self.pipeline.open_windows(time.monotonic_ns())
        self._started("windows", self._close_everything)
        self._start_checkpoints()

    def _start_checkpoints(self) -> None:
        """Begin to save what a restart would cost, or begin anew after a reload."""
        if self._checkpoint_timer is not None:
            self._checkpoint_timer.cancel()
        self._checkpoint_timer = self.loop.call_every(
            self.config.agent.checkpoint_interval_s, self._save_state
        )

    def _save_state(self) -> None:
        predictions = self.counters.get("edgemon_ingest_predictions_total")
        if predictions != self._saved_at:
            self._saved_at = predictions
            self.pipeline.save()
            self.batches.checkpoint()

    def _start_system(self) -> None:
        """Begin to sample, or begin anew after a reload."""
        settings = self.config.system
        if self._system_timer is not None:
            self._system_timer.cancel()
            self._system_timer = None
        before, self.system = self.system, None
        if settings.enabled and settings.collectors:
            self.system = SystemMonitor(
                settings,
                self.counters,
                self._on_system_row,
                self._on_system_event,
                self._peers,
                before,
            )
            self._system_timer = self.loop.call_every(settings.interval_s, self._tick_system)

    def _start_metrics(self, handed: socket.socket | None) -> None:
        """The page at /metrics, where the configuration or a socket that was handed over asks for it."""
        if self.config.metrics.listen or handed is not None:
            from edgemon.agent import scrape  # memory that only who wants the page pays

            port = scrape.port_of(self, self._ship_socket(), handed)
            self._started("metrics", port.stop, port.forget)

    def _stop_ingest(self) -> None:
        assert self.server is not None
        self.server.drain(room=not self.held_back)

    def _close_clients(self) -> None:
        if self.server is not None:
            self.server.stop()

    def _stop_worker(self) -> None:
        if not self.worker.stop(self.config.agent.drain_timeout_s):
            log.error(
                "the disk did not take the last batches in time; the journal is replayed at the next start"
            )
        self._on_spool()
        self.loop.remove(self.worker.fileno())
        self.worker.close()

    def _close_spool(self) -> None:
        self.spool.close()
        nudge(self._ship_socket())

    def _close_everything(self) -> None:
        now_ns = time.monotonic_ns()
        self.pipeline.save()
        self._save_past()
        self.pipeline.close_all_windows(now_ns)
        self.emit_event(Event("agent.stopped", "info", f"edgemon {VERSION} stopped"), now_ns)

    def _parent_is_gone(self) -> None:
        log.warning("the supervisor is gone, stopping")
        self.loop.stop()

    # -- the way of a record

    def _on_datagrams(self, records: Iterator[Record]) -> None:
        self._on_records(None, records)

    def _on_records(self, client: Client | None, records: Iterator[Record | Shown]) -> None:
        mono_ns, wall_s = self._observe_clocks()
        pipeline, predictions = self.pipeline, -self.pipeline.table.predictions
        pipeline.begin(mono_ns, wall_s)
        asked: list[int | str] = []
        for record in records:
            if isinstance(record, Prediction):
                predictions += pipeline.prediction(record, mono_ns, wall_s)
            elif isinstance(record, AckRequest):
                if client is None:  # a datagram, which has none
                    continue
                if record.level == "memory":
                    client.reply({"ack": record.token, "level": "memory"})
                elif client.waiting_acks < MAX_WAITING_ACKS:
                    client.waiting_acks += 1
                    asked.append(record.token)
                else:
                    self._refuse_acks(client, [record.token])
            elif isinstance(record, Metric):
                pipeline.metric(record, mono_ns, wall_s)
            elif isinstance(record, Label):
                pipeline.label(record, mono_ns, wall_s)
            else:
                pipeline.shown(*record)
        predictions += pipeline.table.predictions
        self.counters.add("edgemon_ingest_predictions_total", predictions)
        self.rate.add(predictions, mono_ns / 1e9)
        self._schedule_windows()
        if client is not None and asked:
            self._ask_the_disk(client, asked)

    def _ask_the_disk(self, client: Client, asked: list[int | str]) -> None:
        """One sync for all that a client asked for in one read."""
        self._next_token += 1
        self._tokens[self._next_token] = (client, asked)
        if not self.batches.sync(self._next_token):
            del self._tokens[self._next_token]
            client.waiting_acks -= len(asked)
            self._refuse_acks(client, asked)

    def _refuse_acks(self, client: Client, asked: list[int | str]) -> None:
        self.counters.add("edgemon_ingest_refused_acks_total", len(asked))
        for wanted in asked:
            client.reply(
                {"ack": wanted, "level": "memory", "error": "too many acknowledgements wait"}
            )

    def emit_event(self, event: Event, mono_ns: int) -> None:
        """An event becomes a row of the event batch, which leaves at once.

        Alarms and gaps always do; of all else at most EVENTS_A_MINUTE of a type, the rest is counted.
        """
        always = event.severity == "alarm" or event.type == "gap"
        if not always and not self._events.allow(event.type, mono_ns / 1e9):
            self.counters.add("edgemon_agent_dropped_events_total", reason=event.type)
            return
        self.counters.add("edgemon_agent_events_total", reason=event.type)
        if event.severity == "alarm":
            self._alarm = True
            log.warning(event.message, model=event.model, version=event.version)
        row: Row = {
            "type": event.type, "severity": event.severity, "message": event.message, "model": event.model,
            "version": event.version, "stream": event.stream,
        }  # fmt: skip
        if event.data:
            row["data"] = json.dumps(event.data, ensure_ascii=False)
        self.batches.add("event", row, mono_ns)

    # -- windows and device

    def _schedule_windows(self) -> None:
        due_s = self.pipeline.next_due_s()
        timer = self._window_timer
        if due_s is None or (
            timer is not None and timer.callback is not None and timer.when_s <= due_s
        ):
            return
        if timer is not None:
            timer.cancel()
        self._window_timer = self.loop.call_at(due_s, self._close_windows)

    def _observe_clocks(self) -> tuple[int, float]:
        """Monotonic ns and wall clock s. After a step no row joins what was begun before it."""
        mono_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        step = self._clock_steps.observe(
            mono_ns, wall_ns, time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        )
        if step is not None:
            self.pipeline.close_all_windows(mono_ns, CUT_BY_CLOCK)
            self.batches.close_all()
            self.counters.add("edgemon_agent_clock_steps_total")
            message = f"the wall clock went {'ahead' if step.by_s > 0 else 'back'} by {abs(step.by_s):.1f} s"
            if step.slept_s >= LEAST_S:
                message += f"; the device slept for {step.slept_s:.1f} s"
            log.warning(message)
            event = Event("clock.stepped", "warning", message, data=step._asdict())
            self.emit_event(event, mono_ns)
        return mono_ns, wall_ns / 1e9

    def _close_windows(self) -> None:
        self._window_timer = None
        mono_ns, _ = self._observe_clocks()
        self.pipeline.close_due_windows(mono_ns)
        self._schedule_windows()

    def _tick_system(self) -> None:
        self._observe_clocks()
        if self.system is not None:
            now_s = self.loop.now()
            self.system.tick(now_s)
            if now_s - self._past_saved_s >= _SAVE_PAST_S:
                self._past_saved_s = now_s
                self._save_past()

    def _save_past(self) -> None:
        if self.system is not None and self.system.anomalies is not None:
            self._store.save_past(self.system.anomalies.to_state())

    def _on_system_row(self, row: Row) -> None:
        self.batches.add("sys", row, time.monotonic_ns(), promised=False)

    def _on_system_event(self, event: Event) -> None:
        self.emit_event(event, time.monotonic_ns())

    def _peers(self) -> list[int]:
        return [client.peer[0] for client in self.clients()]

    # -- the spool's side

    def _check_pressure(self) -> None:
        """Stop reading while the writer is far behind, or the spool is full and nothing may go.

        The disk stalls, or nothing is delivered; what clients sent is not to be lost.
        """
        if self.server is None:
            return
        queued_bytes, room_bytes = self.worker.queued_bytes, self.spool.room_bytes()
        if room_bytes is not None and queued_bytes >= room_bytes:
            self.server.pause()
            if not self.held_back:
                self.held_back = True
                message = "the spool is full, applications wait (spool.when_full)"
                log.warning(message)
                self.emit_event(Event("spool.full", "warning", message), time.monotonic_ns())
            return
        self.held_back = False
        if queued_bytes > PRESSURE_BYTES:
            self.server.pause()
        elif queued_bytes <= PRESSURE_BYTES // 2:
            self.server.resume()

    def _on_spool(self) -> None:
        """The writer has news: tokens that are durable, gaps to be shipped, batches for the shipper."""
        news = self.worker.poll()
        for token in news.synced:
            self._answer(token, {"level": "disk"})
        for token in news.not_synced:
            self._answer(token, {"level": "memory", "error": f"not on disk: {news.failure}"})
        for gap in news.gaps:
            log.warning(
                f"rows lost: {gap.reason}", kind=gap.kind, first=gap.from_seq, last=gap.to_seq
            )
            self.emit_event(gap.as_event(), time.monotonic_ns())
        if news.failure != self._disk_failure:
            self._disk_failure = news.failure
            if news.failure:
                log.error(f"the spool's disk does not write: {news.failure}; going on in memory")
            else:
                log.info("the spool's disk writes again")
        self._check_pressure()
        if news.durable:
            if self._alarm and "event" in news.durable:
                self._alarm, self._alarm_untold = False, True
            # An alarm starts a burst; while nobody takes it, it is told again with each batch.
            if nudge(self._ship_socket(), alarm=self._alarm_untold):
                self._alarm_untold = False

    def _answer(self, token: int, reply: dict[str, object]) -> None:
        client, asked = self._tokens.pop(token)
        client.waiting_acks -= len(asked)
        for wanted in asked:
            client.reply({"ack": wanted} | reply)

    def clients(self) -> list[Client]:
        """The applications that are connected."""
        return list(self.server.clients.values()) if self.server is not None else []

    def _ship_socket(self) -> str:
        return os.path.join(self.config.agent.run_dir, SHIP_SOCKET)

    def _anchor(self) -> Anchor:
        return Anchor(self._boot, time.time_ns(), time.monotonic_ns(), clock_error_ms())

    # -- reload

    def reload(self) -> None:
        """SIGHUP: the file is validated first, then applied as a whole; or refused, and the old one stays."""
        try:
            config = reload(self.config)
            profiles = load_profiles(config)
            load_pseudonyms(config, OsFileSystem())
        except (ConfigError, StorageError) as error:
            self.counters.add("edgemon_agent_reloads_total", reason="refused")
            first = error.faults[0] if isinstance(error, ConfigError) else error
            self.last_reload = f"refused: {first}"
            log.error(f"configuration refused, the old one stays in force: {error}")
            event = Event(
                "config.refused", "warning", str(error), data={"in_force": self.config.hash}
            )
            self.emit_event(event, time.monotonic_ns())
            return
        log.configure("edgemon-agent", config.log.level, config.log.format)
        self.apply(config, profiles)
        self.counters.add("edgemon_agent_reloads_total", reason="applied")
        self.last_reload = "applied"

    def apply(self, config: Config, profiles: dict[str, Profile]) -> None:
        """Put another configuration in force. No key that needs a restart differs; profiles: its own, loaded."""
        pseudonyms = load_pseudonyms(config, OsFileSystem())  # before anything changes: it may fail
        self.config = config
        self.batches.reconfigure(
            _identity(config, self.spool.stream_id), _limits(config), config.spool.sync_interval_s
        )
        assert self.server is not None
        self.server.reconfigure(_server_settings(config))
        self.pipeline.reconfigure(config, profiles, time.monotonic_ns(), pseudonyms)
        self._start_system()
        self._start_checkpoints()
        log.info("configuration reloaded", hash=config.hash)
        self.emit_event(
            Event(
                "config.reloaded", "info", "configuration reloaded", data={"config": config.hash}
            ),
            time.monotonic_ns(),
        )


def _boot_id() -> bytes:
    """16 bytes that are the same until the next boot; random where the kernel does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))
    except (OSError, ValueError):
        return os.urandom(16)


def _identity(config: Config, stream: bytes) -> Identity:
    return Identity(
        config.agent.device, config.agent.fleet, stream, {"agent": VERSION, "config": config.hash}
    )


def _limits(config: Config) -> BatchLimits:
    batch = config.batch
    return BatchLimits(batch.max_rows, batch.max_bytes, batch.max_age_s, batch.layout)


def _server_settings(config: Config) -> ServerSettings:
    ingest = config.ingest
    return ServerSettings(
        path=ingest.socket,
        mode=ingest.mode,
        group=ingest.group,
        allow_uids=tuple(ingest.allow_uids),
        max_clients=ingest.max_clients,
        max_rate=ingest.max_rate,
        limits=Limits(
            ingest.max_frame_bytes,
            ingest.max_string_bytes,
            ingest.max_features,
            ingest.max_nesting,
        ),
        coalesce_s=ingest.coalesce_s,
        dgram=ingest.dgram,
    )
