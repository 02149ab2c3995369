"""Collectors that are plugins, in the agent's loop. Imported only where the configuration has one."""

from __future__ import annotations

import select
import time

from edgemon.agent.loop import Loop, Timer
from edgemon.config import Config
from edgemon.metrics import Counters
from edgemon.plugins.collector import PluginCollector
from edgemon.plugins.process import NEVER, STOP_S, about, turn
from edgemon.records import Event
from edgemon.std.collections.abc import Callable


class Plugins:
    """All plugin collectors of a configuration. After a reload those whose settings are the same run on."""

    def __init__(self, loop: Loop, counters: Counters, emit: Callable[[Event, int], None]) -> None:
        self._emit = emit
        self._loop = loop
        self._counters = counters
        self._running: dict[str, _Driven] = {}
        self._leaving: list[_Driven] = []

    @property
    def collectors(self) -> dict[str, PluginCollector]:
        """By name, for the monitor of the device."""
        return {name: driven.collector for name, driven in self._running.items()}

    def apply(self, config: Config) -> None:
        """Stop those that are not wanted any more, start those that are new."""
        wanted = {
            name: settings
            for name, settings in config.plugins.items()
            if settings.kind == "collector" and config.system.enabled
        }
        for name, driven in list(self._running.items()):
            if wanted.get(name) != driven.collector.settings:
                self._leaving.append(self._running.pop(name))
                driven.stop()
        self._leaving = [driven for driven in self._leaving if not driven.is_down]
        for name, settings in wanted.items():
            if name not in self._running:
                collector = PluginCollector(settings, self._counters, about(config), self._refused)
                self._running[name] = _Driven(self._loop, collector)

    def _refused(self, name: str, text: str) -> None:
        event = Event("plugin.refused", "warning", f"{name}: {text}", data={"plugin": name})
        self._emit(event, time.monotonic_ns())

    def latest(self) -> dict[str, float]:
        """The last answer of each, by series."""
        latest: dict[str, float] = {}
        for driven in self._running.values():
            latest |= driven.collector.latest
        return latest

    def status(self) -> list[dict[str, object]]:
        """For `edgemon status`."""
        return [driven.collector.status() for driven in self._running.values()]

    def stop(self) -> None:
        """End all; waits here, without the loop, for STOP_S at most. What is not down then is killed."""
        leaving = [*self._leaving, *self._running.values()]
        for driven in self._running.values():
            driven.stop()
        for driven in leaving:
            driven.let_go()
        processes = [driven.collector.process for driven in leaving]
        until_s = time.monotonic() + STOP_S
        while any(process.state != "down" for process in processes):
            if time.monotonic() >= until_s:
                break
            turn(processes, until_s)
        for process in processes:
            process.kill()
        self._running, self._leaving = {}, []

    def forget(self) -> None:
        """In a child that the application forked: close what is the parent's."""
        for driven in self._running.values():
            driven.collector.process.forget()


class _Driven:
    """One collector, and what of it the loop watches."""

    def __init__(self, loop: Loop, collector: PluginCollector) -> None:
        self._loop = loop
        self._watched: dict[int, int] = {}
        self._timer: Timer | None = None
        self.collector = collector
        self._do(self.collector.start)

    @property
    def is_down(self) -> bool:
        return self.collector.process.state == "down"

    def stop(self) -> None:
        self._do(self.collector.stop)

    def let_go(self) -> None:
        """The loop no longer drives it."""
        self._watch({})
        if self._timer is not None:
            self._timer.cancel()

    def _do(self, what: Callable[[float], None]) -> None:
        what(self._loop.now())
        self._watch(self.collector.watch())
        due_s = self.collector.deadline()
        if self._timer is not None:
            if self._timer.callback is not None and self._timer.when_s == due_s:
                return
            self._timer.cancel()
            self._timer = None
        if due_s < NEVER:
            self._timer = self._loop.call_at(due_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._do(self.collector.tick)

    def _watch(self, wanted: dict[int, int]) -> None:
        for fd in set(self._watched) - set(wanted):
            self._loop.remove(fd)
        for fd, events in wanted.items():
            if self._watched.get(fd) != events:
                self._loop.remove(fd)
                ready = self._ready(fd)
                if events & select.POLLOUT:
                    self._loop.set_writer(fd, ready)
                else:
                    self._loop.add_reader(fd, ready)
        self._watched = wanted

    def _ready(self, fd: int) -> Callable[[], None]:
        return lambda: self._do(lambda now: self.collector.handle(fd, now))
