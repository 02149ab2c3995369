"""The agent process: what it is made of, in the order in which it starts; stopping is that order reversed.

server ─▶ arrivals ─▶ pipeline ─┐            windows, device, clocks: what happens by time
                                ├─▶ storage: batches ─▶ writer's thread ─▶ spool
device ─▶ system monitor ───────┤
events ─────────────────────────┘
"""

from __future__ import annotations

import os
import time

from edgemon import log, service
from edgemon.agent.arrivals import PREDICTIONS, Arrivals
from edgemon.agent.clocks import Clocks
from edgemon.agent.control import Commands
from edgemon.agent.device import Device
from edgemon.agent.lastlife import LastLife
from edgemon.agent.loop import Loop
from edgemon.agent.pipeline import CUT_BY_CLOCK, Pipeline
from edgemon.agent.profiles import load_profiles
from edgemon.agent.redact import load_pseudonyms
from edgemon.agent.storage import Storage
from edgemon.agent.store import StateStore
from edgemon.agent.windows import Windows
from edgemon.collect import Collector
from edgemon.config import Config, apart
from edgemon.control import AGENT_SOCKET, ControlServer, make_run_dir, parent_fd
from edgemon.errors import ConfigError, StorageError
from edgemon.ingest.activation import NOTHING, Inherited, inherited
from edgemon.ingest.client import Client
from edgemon.ingest.protocol import Limits
from edgemon.ingest.server import Server, ServerSettings
from edgemon.metrics import Counters
from edgemon.records import Event
from edgemon.spool.fs import OsFileSystem
from edgemon.std import signal, socket
from edgemon.std.collections.abc import Callable, Mapping
from edgemon.typed import TYPE_CHECKING
from edgemon.version import VERSION

if TYPE_CHECKING:
    from edgemon.agent.plugins import Plugins
    from edgemon.agent.remote import Remote
    from edgemon.agent.rules import Rules
    from edgemon.drift.profile import Profile


class Agent:
    """Builds everything from one configuration and runs until it is told to stop.

    own_process: the process is the agent's. SIGTERM, SIGINT and the end of a supervisor stop it, SIGHUP reloads.
    Otherwise it is a guest in an application, which calls `start`, has a thread `serve`, and stops its loop.
    """

    storage: Storage
    pipeline: Pipeline
    windows: Windows
    arrivals: Arrivals
    device: Device

    def __init__(self, config: Config, *, own_process: bool = True) -> None:
        self.config = config
        self._own_process = own_process
        self.counters = Counters()
        self.loop = Loop()
        self.clocks = Clocks(self._on_clock_step)
        self.started_s = self.loop.now()
        self.last_reload = ""
        self.server: Server | None = None
        self.plugins: Plugins | None = None
        self.rules: Rules | None = None
        self.remote: Remote | None = None
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
        life = LastLife(OsFileSystem(), config.agent.state_dir, self.clocks.boot)
        self._started("life", life.end)
        self._started("clients", self._close_clients)  # last: what they wrote may still be answered
        self.storage = Storage(config, self.loop, self.counters, self.clocks.anchor, self._answer)
        self.storage.start(self._started)
        if (died := life.begin()) is not None:  # only now: the folder is ours
            self.emit_event(died, time.monotonic_ns())
        self._start_pipeline(profiles)
        handed = inherited(os.environ) if self._own_process else NOTHING
        self._keep_rules()
        self._start_server(handed)
        self._start_control()
        self._start_metrics(handed.metrics)
        self._say("agent.started", f"edgemon {VERSION} started", config=config.hash)
        if self.remote is not None:
            self.remote.start()
        log.info(
            f"listening on {config.ingest.socket}", device=config.agent.device, version=VERSION
        )
        if self._own_process:
            self._tell_the_manager()

    def _start_pipeline(self, profiles: dict[str, Profile]) -> None:
        config, batches = self.config, self.storage.batches
        store = StateStore(
            OsFileSystem(),
            config.agent.state_dir,
            self.counters,
            self.storage.counters,
            self.storage.worker.run,
        )
        store.load_checkpoint()
        self.pipeline = Pipeline(
            config, profiles, self.counters, batches.add, self.emit_event, store,
            load_pseudonyms(config, OsFileSystem()), batches.add_rows, batches.await_rows,
        )  # fmt: skip
        batches.give_rows = self.pipeline.give_rows
        self.windows = Windows(
            self.loop, self.clocks, self.pipeline, batches, lambda: self.counters.get(PREDICTIONS)
        )
        self.arrivals = Arrivals(
            self.counters, self.clocks, self.pipeline, self.windows, batches, self.started_s
        )
        self.device = Device(
            self.loop, self.clocks, self.counters, batches, store, self.emit_event, self._peers
        )
        self._started("windows", self._close_windows)
        self._expect_models()
        self.windows.save_every(config.agent.checkpoint_interval_s)
        self.device.start(config.system, self._apply_plugins())

    def _expect_models(self) -> None:
        """From now on those that have a rule for it are silent when they are not heard."""
        self.pipeline.silences.expect(self.config, self.loop.now())
        self.windows.schedule()

    def _apply_plugins(self) -> Mapping[str, Collector]:
        """Collectors that are plugins: started, stopped or left alone, as the configuration in force has them."""
        if self.plugins is None:
            if not any(plugin.kind == "collector" for plugin in self.config.plugins.values()):
                return {}
            from edgemon.agent.plugins import Plugins  # memory that only who has one pays

            self.plugins = Plugins(self.loop, self.counters, self.emit_event)
            self._started("plugins", self.plugins.stop, self.plugins.forget)
        self.plugins.apply(self.config)
        return self.plugins.collectors

    def _keep_rules(self) -> None:
        """Rules that were changed begin anew; where there are none, nothing is loaded."""
        if self.rules is not None:
            self.rules.reconfigure(self.config)
        elif self.config.rules:
            from edgemon.agent.rules import Rules  # memory that only who has rules pays

            self.rules = Rules(self)
            self._started("rules", self.rules.stop, self.rules.forget)

    def _start_server(self, handed: Inherited) -> None:
        self.server = Server(
            _server_settings(self.config),
            self.loop,
            self.counters,
            self.arrivals.on_records,
            self.pipeline.table,
            handed,
            self.arrivals.on_datagrams,
        )
        self.server.start()
        self._started("ingest", self._stop_ingest, self.server.forget)
        self.storage.gate = self.server
        self.windows.listening = lambda: self.server is not None and self.server.reading
        self.storage.check_pressure()

    def _start_control(self) -> None:
        handlers = Commands(self).handlers()
        if self.config.remote.enabled and self._own_process:
            from edgemon.agent.remote import Remote  # memory that only who turns it on pays

            self.remote = Remote(self)
            self._started("remote", self.remote.stop)
            handlers |= self.remote.handlers()
        self.control = ControlServer(
            os.path.join(self.config.agent.run_dir, AGENT_SOCKET), handlers
        )
        self.loop.add_reader(self.control.fileno(), self.control.on_readable)
        self._started("control", self.control.close, self.control.forget)

    def _start_metrics(self, handed: socket.socket | None) -> None:
        """The page at /metrics, where the configuration or a socket that was handed over asks for it."""
        if self.config.metrics.listen or handed is not None:
            from edgemon.agent import scrape  # memory that only who wants the page pays

            port = scrape.port_of(self, self.storage.ship_socket, handed)
            self._started("metrics", port.stop, port.forget)

    def _tell_the_manager(self) -> None:
        """To systemd: ready; alive, as long as the loop turns; stopping."""
        if interval_s := service.watchdog_interval_s():
            self.loop.call_every(
                interval_s, lambda: service.tell(service.ALIVE), early_s=interval_s / 2
            )
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

    def _parent_is_gone(self) -> None:
        log.warning("the supervisor is gone, stopping")
        self.loop.stop()

    # -- stopping, the last first

    def _stop_ingest(self) -> None:
        assert self.server is not None
        self.server.drain(room=not self.storage.held_back)

    def _close_windows(self) -> None:
        self.pipeline.save()
        self.device.stop()
        self.pipeline.close_all_windows(time.monotonic_ns())
        self._say("agent.stopped", f"edgemon {VERSION} stopped")

    def _close_clients(self) -> None:
        if self.server is not None:
            self.server.stop()

    # -- what the parts ask of each other

    def emit_event(self, event: Event, mono_ns: int) -> None:
        """Something happened."""
        self.storage.events.emit(event, mono_ns)

    def _say(self, what: str, message: str, **data: object) -> None:
        self.emit_event(Event(what, "info", message, data=data), time.monotonic_ns())

    def _answer(self, token: int, failure: str) -> None:
        self.arrivals.answer(token, failure)

    def _on_clock_step(self, event: Event, mono_ns: int) -> None:
        """No row joins what was begun before the step."""
        self.pipeline.close_all_windows(mono_ns, CUT_BY_CLOCK)
        self.storage.batches.close_all()
        self.counters.add("edgemon_agent_clock_steps_total")
        self.emit_event(event, mono_ns)

    def clients(self) -> list[Client]:
        """The applications that are connected."""
        return list(self.server.clients.values()) if self.server is not None else []

    def _peers(self) -> list[int]:
        return [client.peer[0] for client in self.clients()]

    # -- reload

    def reload(self) -> None:
        """SIGHUP: the file is validated first, then applied as a whole; or refused, and the old one stays."""
        try:
            config = apart.reload(self.config)
            profiles = load_profiles(config, self.pipeline.factory.profiles)
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
        self.storage.reconfigure(config)
        assert self.server is not None
        self.server.reconfigure(_server_settings(config))
        self.pipeline.reconfigure(config, profiles, time.monotonic_ns(), pseudonyms)
        self._expect_models()
        self.device.reconfigure(config.system, self._apply_plugins())
        self._keep_rules()
        self.windows.save_every(config.agent.checkpoint_interval_s)
        log.info("configuration reloaded", hash=config.hash)
        self._say("config.reloaded", "configuration reloaded", config=config.hash)


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
