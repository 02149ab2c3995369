"""Python entry points: how a package that is installed beside edgemon offers a plugin."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from edgemon.errors import UsageError
from edgemon.typed import Any

GROUPS = {"collector": "edgemon.collectors", "sink": "edgemon.sinks"}


def find(kind: str, name: str) -> EntryPoint:
    """The entry point of that name, not loaded. Raises UsageError."""
    group = GROUPS[kind]
    offered = entry_points(group=group)
    for point in offered:
        if point.name == name:
            return point
    names = ", ".join(sorted({point.name for point in offered})) or "none at all"
    raise UsageError(
        f'no installed package has the entry point "{name}" of the group {group}; there is {names}'
    )


def load(kind: str, name: str) -> Callable[[], Any]:
    """What makes the plugin's object. Raises UsageError, and whatever its module raises."""
    made: Callable[[], Any] = find(kind, name).load()
    return made
