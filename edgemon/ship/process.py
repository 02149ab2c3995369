"""The shipper process: one thread and one poll around Shipper; signals, control socket, reloads.

    SIGTERM, SIGINT  while connected, ship what is there for up to ship.drain_timeout; say goodbye
    SIGHUP           read the configuration again; applied as a whole, or refused with the reason
    ship.sock        {"cmd":"nudge"}: there are new batches;  {"cmd":"status"}: see below

A status is {"sink", "connected", "last_error", "last_error_ago_s", "failures", "next_attempt_s",
"inflight", "retrying", "confirm", "mode", "limits", "shipped": {kind: {"batches", "bytes"}},
"acked": {kind: seq}, "counters", "notices": {"waiting", "sent", "last_error"}, "plugins", "pid", "version",
"uptime_s", "config_hash", "reload_error"}: seconds, and null for what is not.

What the agent does not know yet, batches that were quarantined, is told to it every TELL_S. With
remote.enabled a courier (desired.py) talks to it; {"cmd":"remote"}: the agent has another report.
"""

from __future__ import annotations

import math
import os
import select
import selectors
import time

from edgemon import log, service
from edgemon.config import Config, apart
from edgemon.control import (
    AGENT_SOCKET,
    PATIENCE_S,
    SHIP_SOCKET,
    ControlServer,
    Message,
    make_run_dir,
    nudge,
    parent_fd,
    request,
)
from edgemon.errors import ConfigError, UnreachableError, UsageError
from edgemon.metrics import Counters
from edgemon.ship import sink as sinks
from edgemon.ship.limits import Limits
from edgemon.ship.refused import Refused
from edgemon.ship.shipper import Shipper
from edgemon.ship.sink import Sink, SinkContext
from edgemon.ship.source import SpoolSource
from edgemon.spool.fs import FileSystem, OsFileSystem, join
from edgemon.std import signal
from edgemon.std.collections.abc import Callable
from edgemon.typed import TYPE_CHECKING
from edgemon.version import VERSION

if TYPE_CHECKING:
    from edgemon.ship.desired import Courier
    from edgemon.ship.notify import Notifier

TELL_S = 5.0  # while the agent does not take a note
_MAX_WAIT_S = 3600.0


class ShipProcess:
    """Runs until a signal or, with `once`, until the spool is empty. Main thread only.

    Raises ConfigError when the sink's own settings cannot work.
    """

    def __init__(self, config: Config, *, once: bool = False) -> None:
        if once and config.ship.sink == "none" and not config.has_notices:
            raise UsageError('there is nothing to ship to: ship.sink = "none"')
        self._config = config
        self._once = once
        self._fs: FileSystem = OsFileSystem()
        self._counters = Counters()
        agent_socket = join(config.agent.run_dir, AGENT_SOCKET)
        self._source = SpoolSource(
            self._fs,
            config.spool.dir,
            config.spool.quarantine_size_bytes,
            on_freeable=lambda: nudge(agent_socket),
            note=lambda note: self._refused.note(note),
        )
        self._refused = Refused(
            self._fs,
            config.agent.state_dir,
            lambda note: request(agent_socket, {"cmd": "lost", **note._asdict()}, PATIENCE_S),
        )
        self._next_tell = 0.0
        self._alive_every_s = service.watchdog_interval_s()
        self._next_alive = 0.0 if self._alive_every_s else math.inf
        self._limits = Limits(config.ship, self._fs, config.agent.state_dir, self._counters)
        self._shipper = Shipper(
            self._source, config.ship, self._counters, time.monotonic, limits=self._limits
        )
        self._courier = self._make_courier(agent_socket) if config.remote.enabled else None
        self._changed_to = ""  # the agent's configuration for which ours was read again last
        self._sink = self._make_sink(config)
        self._notifier: Notifier | None = None
        self._apply_notices(config)
        self._next: tuple[Config, Sink] | None = None  # takes over once the old sink is down
        self._last_call_s: float | None = None  # monotonic; set by the first SIGTERM
        self._ending = False
        self._reload_error = ""
        self._started_at = time.monotonic()

    def run(self) -> None:
        """Ship. With `once`: UnreachableError when not all could be shipped."""
        if self._once and self._shipper.outbox.nothing_to_send() and self._notified:
            return
        make_run_dir(self._config.agent.run_dir)
        control = ControlServer(
            join(self._config.agent.run_dir, SHIP_SOCKET),
            {"nudge": self._nudge, "status": self._status, "remote": self._look},
        )
        signals = _Signals((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        own = {
            control.fileno(): control.on_readable,
            signals.fileno(): lambda: self._on_signals(signals.take()),
        }
        if (parent := parent_fd()) is not None:
            own[parent] = self._last_call  # the supervisor is gone
        try:
            self._shipper.use(self._sink, self._config.ship)
            service.tell(service.READY)
            while not (self._ending and self._shipper.stopped):
                self._turn(own)
        finally:
            service.tell(service.STOPPING)
            self._sink.close()
            if self._notifier is not None:
                self._notifier.close()
            self._shipper.outbox.store()
            self._limits.close()
            self._refused.hand_over()
            signals.close()
            control.close()
        if self._once and self._shipper.failures:
            raise UnreachableError(f"not all was shipped: {self._shipper.last_error}")
        if self._once and self._limits.events_only and not self._shipper.outbox.nothing_to_send():
            raise UnreachableError("not all was shipped: ship.monthly_limit")
        if self._once and self._shipper.outbox.unconfirmed_resends:
            raise UnreachableError(
                "no receiver confirmed all that was shipped within ship.confirm_timeout; "
                "is `edgemon receive --confirm` running?"
            )
        if self._once and self._notifier is not None and self._notifier.failing:
            raise UnreachableError(f"not all was sent: {self._notifier.failing}")

    # -- the loop

    def _turn(self, own: dict[int, Callable[[], None]]) -> None:
        self._shipper.step()
        notifier = self._notifier
        if notifier is not None:
            notifier.step()
        self._tell_agent()
        self._tell_the_manager()
        if self._courier is not None:
            self._courier.step(time.monotonic())
        self._steer()
        if self._ending and self._shipper.stopped:
            return  # step() brought it about: nothing is left to wait for
        # Made anew each time: a sink closes descriptors as it likes, and their numbers come again.
        poll = select.poll()
        for fd in own:
            poll.register(fd, select.POLLIN)
        if notifier is not None and notifier.fileno() >= 0:
            poll.register(notifier.fileno(), select.POLLIN)
        for fd, events in self._sink.watch().items():
            reading = select.POLLIN if events & selectors.EVENT_READ else 0
            poll.register(fd, reading | (select.POLLOUT if events & selectors.EVENT_WRITE else 0))
        until = min(
            self._shipper.deadline(),
            self._last_call_s or math.inf,
            self._next_tell if self._refused.waiting else math.inf,
            self._next_alive,
            notifier.deadline() if notifier is not None else math.inf,
            self._courier.deadline() if self._courier is not None else math.inf,
        )
        wait_s = min(_MAX_WAIT_S, max(0.0, until - time.monotonic()))
        for fd, _ in poll.poll(math.ceil(wait_s * 1000)):
            if fd in own:
                own[fd]()
            elif notifier is not None and fd == notifier.fileno():
                notifier.on_readable()
            else:
                self._sink.handle(fd, time.monotonic())

    def _tell_agent(self) -> None:
        now = time.monotonic()
        if self._refused.waiting and now >= self._next_tell:
            self._next_tell = now + TELL_S
            self._refused.hand_over()

    def _tell_the_manager(self) -> None:
        """That the loop turns, to systemd's watchdog."""
        now = time.monotonic()
        # Well before it is time, where it is awake for something else.
        if now >= self._next_alive - self._alive_every_s / 2:
            self._next_alive = now + self._alive_every_s
            service.tell(service.ALIVE)

    def _steer(self) -> None:
        """Begin and end what concerns the process as a whole."""
        shipper = self._shipper
        if self._once and self._notified and self._carried and self._has_shipped:
            self._end()
        if self._last_call_s is not None and not self._ending:
            over = time.monotonic() >= self._last_call_s
            if over or (self._notified and (shipper.settled or not shipper.up)):
                self._end()
        if shipper.stopped and self._next is not None and not self._ending:
            self._config, self._sink = self._next
            self._next = None
            shipper.use(self._sink, self._config.ship)
            log.info("the new configuration is in force", config=self._config.hash)

    @property
    def _has_shipped(self) -> bool:
        """Whether all has left, or nothing more can now."""
        shipper = self._shipper
        if shipper.idle or shipper.failures or shipper.outbox.unconfirmed_resends:
            return True
        return shipper.blocked_by_month or self._config.ship.sink == "none"

    @property
    def _carried(self) -> bool:
        """The same, of what the broker retains for this device."""
        if self._courier is None or self._shipper.failures:
            return True
        return self._courier.settled(time.monotonic())

    @property
    def _notified(self) -> bool:
        """The same, of notifications."""
        return self._notifier is None or self._notifier.settled

    def _apply_notices(self, config: Config) -> None:
        """Who sends webhooks and e-mails, where the configuration has such."""
        if self._notifier is not None:
            self._notifier.use(config)
        elif config.has_notices:
            from edgemon.ship.notify import Notifier  # memory that only who has one pays

            self._notifier = Notifier(config, self._fs, self._counters, time.monotonic)

    def _last_call(self) -> None:
        """Ship what the agent wrote last, then end. After drain_timeout it stays in the spool."""
        if self._last_call_s is None:
            self._last_call_s = time.monotonic() + self._config.ship.drain_timeout_s
            self._shipper.wake()

    def _end(self) -> None:
        self._ending = True
        self._shipper.begin_stop()
        self._shipper.step()  # or the goodbye would wait for the next thing to happen

    def _on_signals(self, numbers: set[int]) -> None:
        if signal.SIGHUP in numbers:
            self._reload()
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            self._last_call()

    def _reload(self) -> None:
        """All of the new configuration, or none of it."""
        try:
            config = apart.reload(self._config)
            sink = self._make_sink(config)
        except ConfigError as error:
            self._reload_error = str(error)
            for fault in error.faults:
                log.error("the new configuration is refused", fault=fault)
            return
        self._reload_error = ""
        self._apply_notices(config)
        log.configure("edgemon-ship", config.log.level, config.log.format)
        if _to_where(config) == _to_where(self._config):
            self._config = config
            log.info("the new configuration is in force", config=config.hash)
            return
        self._next = config, sink
        self._shipper.begin_stop()

    # -- control commands

    def _nudge(self, _: Message) -> Message:
        self._shipper.wake()
        if self._notifier is not None:
            self._notifier.wake()
        return {}

    def _status(self, _: Message) -> Message:
        plugin = getattr(self._sink, "status", None)  # only a sink that is a plugin has one
        return {
            **self._shipper.status(),
            "notices": self._notifier.status() if self._notifier is not None else None,
            "plugins": [plugin()] if plugin is not None else [],
            "pid": os.getpid(),
            "version": VERSION,
            "uptime_s": time.monotonic() - self._started_at,
            "config_hash": self._config.hash,
            "reload_error": self._reload_error or None,
        }

    def _look(self, _: Message) -> Message:
        if self._courier is not None:
            self._courier.look()
        return {}

    # -- the remote hand

    def _make_courier(self, agent_socket: str) -> Courier:
        from edgemon.ship.desired import Courier

        return Courier(
            lambda question: request(agent_socket, question, PATIENCE_S),
            self._state_of_shipping,
            self._agent_has,
            self._counters,
        )

    def _state_of_shipping(self) -> Message:
        """What the agent judges a new configuration by."""
        shipper = self._shipper
        return {
            "connected": shipper.up and self._next is None,
            "online": shipper.up and not self._once,
            "config": self._config.hash,
            "delivered": shipper.delivered_event,
            "error": self._reload_error or shipper.last_error or None,
        }

    def _agent_has(self, config_hash: str) -> None:
        """Read the configuration again where the agent has another, once for each."""
        ours = self._next[0] if self._next is not None else self._config
        if config_hash not in (ours.hash, self._changed_to) and not self._ending:
            self._reload()
        self._changed_to = config_hash

    def _make_sink(self, config: Config) -> Sink:
        return sinks.make(
            SinkContext(
                config,
                self._shipper,
                self._fs,
                self._counters,
                self._source.stream,
                self._in_a_hurry,
                self._shipper.outbox.asked,
                self._limits.carried,
                self._courier,
            )
        )

    def _in_a_hurry(self) -> bool:
        """Whether this is the end, for the process or for a sink that another one replaces."""
        return self._once or self._last_call_s is not None or self._next is not None


def _to_where(config: Config) -> tuple[object, ...]:
    """The settings that a sink is made of."""
    plugins = [plugin for plugin in config.plugins.values() if plugin.kind == "sink"]
    return config.ship, config.mqtt, config.s3, plugins


class _Signals:
    """Signals as a descriptor to poll. close() puts back what was there before."""

    def __init__(self, numbers: tuple[signal.Signals, ...]) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _ignore) for number in numbers}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)  # see cli.hold_reloads

    def fileno(self) -> int:
        return self._read

    def take(self) -> set[int]:
        """The numbers that came since the last call."""
        return set(os.read(self._read, 4096))

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before_wakeup)
        os.close(self._read)
        os.close(self._write)


def _ignore(_number: int, _frame: object) -> None:
    """The number goes through the wake-up descriptor."""
