"""[plugins.NAME]: programs and Python objects of others that collect series or take batches.

Imported only for a file that has such a table. Who may have written a program is asked by `edgemon check`, and before
each start (trust.py): it runs with the rights of edgemon. A configuration is not refused for it: all else is to work.
"""

from __future__ import annotations

import math
import re
import sys

from edgemon.config.checks import Clash
from edgemon.config.conditions import Command
from edgemon.config.keys import Key, Section
from edgemon.config.schema import COLLECTORS
from edgemon.config.settings import Config, PluginSettings
from edgemon.config.toml import shown
from edgemon.config.values import Boolean, Choice, Duration, Integer, Kind, RefusedError, Size, Text
from edgemon.std.collections.abc import Iterator
from edgemon.typed import Any

MAX_PLUGINS = 16
NAME = r"[a-z][a-z0-9_]{0,31}"
NAME_ALLOWED = "1 to 32 of the characters a-z 0-9 _, a letter first"
_MAX_OPTIONS_BYTES = 16 * 1024


class Program(Command):
    """A command whose program nobody but root and edgemon's user can have written."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.allowed += (
            "; it must belong to root or to edgemon's user, and nobody else may write it"
        )


class Options(Kind):
    """A table that is handed to the plugin as it is; as JSON it has at most 16 KiB."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(
            "a table of texts, finite numbers, true and false, lists and tables, at most 16 KiB"
        )

    def parse(self, raw: object) -> object:
        if not isinstance(raw, dict):
            raise self.refuse(raw)
        self._check(raw, ())
        from edgemon.std import json

        if len(json.dumps(raw)) > _MAX_OPTIONS_BYTES:
            raise RefusedError(f"is too long, must be {self.allowed}")
        return raw

    def _check(self, item: object, at: tuple[str | int, ...]) -> None:
        inside: list[tuple[str | int, object]] = []
        if isinstance(item, dict):
            inside = list(item.items())
        elif isinstance(item, list):
            inside = list(enumerate(item))
        elif not isinstance(item, str | bool | int) and not (
            isinstance(item, float) and math.isfinite(item)
        ):
            raise RefusedError(f"has {shown(item)}, must be {self.allowed}", *at)
        for name, value in inside:
            self._check(value, (*at, name))


# fmt: off
PLUGINS = Section(
    "plugins",
    PluginSettings,
    "One table a plugin, at most 16; its name begins the names of its series. See plugins.md.",
    (
        Key("kind", Choice("collector", "sink"), "collector",
            '"collector" gives series of the device; "sink" takes batches, with `ship.sink = "plugin"`.'),
        Key("command", Program(), [], "The program that speaks the line protocol, and its arguments."),
        Key("entry_point", Text(r"[A-Za-z0-9._-]{0,64}", "at most 64 of the characters A-Z a-z 0-9 . _ -"), "",
            "In place of `command`: the name of a Python entry point of the group `edgemon.collectors` or "
            "`edgemon.sinks`. Not in the single binary."),
        Key("options", Options(), {}, "What the plugin is told when it starts."),
        Key("interval", Duration("1s", "1d"), "10s", "How often a collector is asked.",
            implied="`system.interval`"),
        Key("timeout", Duration("100ms", "10m"), "10s", "How long an answer may take."),
        Key("start_timeout", Duration("100ms", "10m"), "30s", "How long it may take to start."),
        Key("memory", Size("0B", "1TiB"), "256MiB",
            "Address space of each of its processes; 0 is no limit."),
        Key("cpu_time", Duration("0s", "31d", whole=True), "1h",
            "Processor time after which it is ended and started anew; 0 is no limit."),
        Key("open_files", Integer(8, 65536), 64, "Files that it may have open."),
        Key("nice", Integer(0, 19), 10, "By how much it stands back behind other processes."),
        Key("credentials", Boolean(), False,
            "It is told CREDENTIALS_DIRECTORY, where systemd puts the secrets of edgemon's unit."),
    ),
)
# fmt: on


def name_problem(name: str) -> str:
    """Why a plugin cannot have this name; "" where it can."""
    if not re.fullmatch(NAME, name, re.ASCII):
        return f"a plugin's name must be {NAME_ALLOWED}"
    if name in COLLECTORS:
        return "is the name of a collector of edgemon's own; choose another"
    return ""


def clashes(config: Config) -> Iterator[Clash]:
    """What the keys of plugins must agree on, with each other and with other sections."""
    sinks = [plugin for plugin in config.plugins.values() if plugin.kind == "sink"]
    if len(config.plugins) > MAX_PLUGINS:
        yield Clash((("plugins",),), f"{len(config.plugins)} plugins, at most {MAX_PLUGINS}")
    if config.ship.sink == "plugin" and not sinks:
        problem = 'needs a table [plugins.NAME] with kind = "sink"'
        yield Clash((("ship", "sink"), ("plugins",)), problem)
    if sinks and config.ship.sink != "plugin":
        at = ("plugins", sinks[0].name, "kind")
        yield Clash((at, ("ship", "sink")), 'kind "sink" needs ship.sink = "plugin"')
    for other in sinks[1:]:
        problem = f"there is another sink, {sinks[0].name}: batches go to one"
        yield Clash((("plugins", other.name, "kind"),), problem)
    for name, plugin in config.plugins.items():
        if bool(plugin.command) == bool(plugin.entry_point):
            problem = "needs one of command and entry_point" + (
                ", not both" if plugin.command else ""
            )
            keys = (("plugins", name, "entry_point"), ("plugins", name, "command"))
            yield Clash(keys, problem)
        if plugin.entry_point and getattr(sys, "frozen", False):
            problem = "Python plugins need edgemon installed as a Python package; this is the single binary"
            yield Clash((("plugins", name, "entry_point"),), problem)
        if plugin.kind == "collector" and not config.system.enabled:
            problem = "a collector needs system.enabled = true"
            yield Clash((("plugins", name, "kind"), ("system", "enabled")), problem)


def settings_of(name: str, taken: dict[str, Any]) -> PluginSettings:
    """One plugin, of the values of its keys."""
    return PluginSettings(name=name, **taken)
