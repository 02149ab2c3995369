"""`ship.mode = "burst"`: no shipper in memory but now and then, and at an alarm.

Between bursts the supervisor itself listens on the shipper's socket: there the agent says that an
alarm is on disk, and `edgemon status` asks when the next burst is. For a burst it lets go of the
socket and starts `edgemon ship --once`, which takes it over and ends when all is shipped. A burst that
fails is tried again with the pauses of `ship.initial_interval` … `ship.max_interval`.

An alarm that comes while a shipper is ending may find nobody: after each burst the supervisor looks
whether events wait on disk.
"""

from __future__ import annotations

import time

from edgemon import log
from edgemon.agent.loop import Loop, Timer
from edgemon.config import Config, ShipSettings
from edgemon.control import SHIP_SOCKET, ControlServer, Message
from edgemon.errors import EdgemonError
from edgemon.flow.backoff import Backoff
from edgemon.flow.schedule import NEVER, Schedule
from edgemon.records import KINDS
from edgemon.spool.cursor import read_cursor
from edgemon.spool.fs import OsFileSystem, join
from edgemon.spool.watermark import read_watermark
from edgemon.std import random
from edgemon.std.collections.abc import Callable

RELISTEN_S = 30.0  # after somebody else had the socket
AGAIN_S = 1.0  # before a burst for events that came while one ended


class Bursts:
    """start: starts one shipper; the owner calls ended() when it is over.

    changed: the agent says that there may be another configuration (remote.enabled).
    """

    def __init__(
        self,
        loop: Loop,
        config: Config,
        start: Callable[[], None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._settings = config.ship
        self._socket = join(config.agent.run_dir, SHIP_SOCKET)
        self._spool = config.spool.dir
        self._start = start
        self._changed = changed
        self._schedule = self._new_schedule()
        self._backoff = self._new_backoff()
        self._server: ControlServer | None = None
        self._timer: Timer | None = None
        self._retry_at = NEVER
        self._running = False
        self._alarm = False
        self._bursts = 0
        self._exit_code: int | None = None
        self._ended_at: float | None = None

    def begin(self) -> None:
        """Listen and wait; what is due at once starts in the next turn of the loop."""
        OsFileSystem().make_dir(self._socket.rpartition("/")[0])
        self._listen()
        self._arm()

    def reload(self, settings: ShipSettings) -> None:
        """Another schedule; a burst that runs goes on."""
        if settings == self._settings:
            return
        self._settings = settings
        self._schedule = self._new_schedule()
        self._backoff = self._new_backoff()
        self._arm()

    def ended(self, exit_code: int) -> None:
        """The shipper is gone; 0 when it could ship all."""
        self._running = False
        self._exit_code = exit_code
        self._ended_at = self._loop.now()
        if exit_code == 0:
            self._backoff.reset()
            self._retry_at = NEVER
            if self._settings.on_alarm and self._events_wait():
                self._retry_at = self._loop.now() + AGAIN_S
        else:
            delay_s = self._backoff.next_delay()
            self._retry_at = self._loop.now() + delay_s
            log.warning(
                "a burst could not ship all", exit_code=exit_code, next_attempt_s=round(delay_s, 1)
            )
        self._listen()
        self._arm()

    def stop(self) -> None:
        """Start nothing more."""
        self._running = True
        self._close()
        if self._timer is not None:
            self._timer.cancel()

    # -- the next one

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._running:
            return
        now = self._loop.now()
        waits = [self._schedule.wait_s(now, time.time()), self._retry_at - now]
        if self._alarm:
            waits.append(0.0)
        if self._server is None:
            waits.append(RELISTEN_S)
        if (wait_s := min(waits)) < NEVER:
            self._timer = self._loop.call_at(now + max(0.0, wait_s), self._look)

    def _look(self) -> None:
        """Start a burst if there is a reason to."""
        now = self._loop.now()
        due = self._schedule.due(now, time.time())
        if self._running or not (due or self._alarm or now >= self._retry_at):
            if self._server is None:
                self._listen()
            self._arm()
            return
        self._alarm = False
        self._retry_at = NEVER
        self._running = True
        self._bursts += 1
        self._close()  # before the shipper binds it
        self._start()

    def _events_wait(self) -> bool:
        fs = OsFileSystem()
        watermark = read_watermark(fs, self._spool)
        events = KINDS[0]
        if watermark is None:
            return False
        return watermark.durable[events] > read_cursor(fs, self._spool)[events]

    def _new_schedule(self) -> Schedule:
        settings = self._settings
        return Schedule(settings.every_s, settings.at, self._loop.now(), time.time())

    def _new_backoff(self) -> Backoff:
        settings = self._settings
        return Backoff(
            settings.initial_interval_s,
            settings.max_interval_s,
            settings.multiplier,
            random.random,
        )

    # -- the socket

    def _listen(self) -> None:
        try:
            self._server = ControlServer(
                self._socket,
                {"nudge": self._nudge, "status": self._status, "remote": self._remote},
            )
        except EdgemonError as error:  # somebody runs `edgemon ship` by hand
            log.warning("cannot listen for alarms", error=error)
            return
        self._loop.add_reader(self._server.fileno(), self._server.on_readable)

    def _close(self) -> None:
        if self._server is not None:
            self._loop.remove(self._server.fileno())
            self._server.close()
            self._server = None

    def _nudge(self, request: Message) -> Message:
        if request.get("alarm") is True and self._settings.on_alarm:
            self._alarm = True
            self._arm()  # not at once: this server is still answering
        return {}

    def _remote(self, _: Message) -> Message:
        self._changed()
        return {}

    def _status(self, _: Message) -> Message:
        """As a shipper's, as far as it goes: see edgemon/ship/process.py."""
        now = self._loop.now()
        next_s = min(self._schedule.next_s(now, time.time()), self._retry_at - now)
        failed = self._exit_code not in (None, 0)
        return {
            "sink": self._settings.sink,
            "mode": self._settings.mode,
            "connected": False,
            "last_error": f"the last burst ended with exit code {self._exit_code}"
            if failed
            else None,
            "last_error_ago_s": now - self._ended_at if failed and self._ended_at else None,
            "next_attempt_s": next_s if next_s < NEVER else None,
            "bursts": self._bursts,
            "shipped": {},
            "acked": read_cursor(OsFileSystem(), self._spool),
            "counters": {},
        }
